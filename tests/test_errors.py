import dspy
import pytest
from dspy.utils.exceptions import (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMInvalidRequestError,
    LMProviderError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
    LMUnexpectedError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
)
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.errors import SearchStoppedError, brief, stop_if_hopeless
from ipo_dspy.testing import scripted_lm

keys = st.from_regex(r"[A-Za-z0-9_-]{20,40}", fullmatch=True)


@given(keys)
def test_the_key_of_the_language_model_is_never_told(key: str) -> None:
    lm = dspy.LM("openai/x", api_key=key)
    assert key not in brief(ValueError(f"bad request: header {key!r} for {key}"), lm)


def test_keys_in_the_environment_are_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_PROVIDER_API_KEY", "plainword")
    assert brief(ValueError("sent plainword")) == "ValueError: sent ***"


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abc_DEF123456",
        "gsk_abcdef123456",
        "hf_abcdefghij",
        "AIzaSyA1234567890",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOi.eyJzdWIiOiIx.c2lnbmF0dXJl",
        "0123456789abcdef",
    ],
)
@pytest.mark.parametrize(
    "message",
    [
        "Incorrect API key provided: {}. Find yours online.",
        "headers: Authorization: Bearer {}",
        'body {{"api_key": "{}"}}',
        "GET https://user:{}@host/v1 failed",
        "GET https://host/v1?key={}",
    ],
)
def test_what_has_the_shape_of_a_key_is_never_told(secret: str, message: str) -> None:
    assert secret not in brief(ValueError(message.format(secret)))


@pytest.mark.parametrize(
    "message",
    [
        "Rate limit reached for gpt-4o-mini-2024-07-18",
        "The key is missing; set OPENAI_API_KEY or pass api_key to dspy.LM",
        "maximum context length is 8192 tokens: 9000 were sent",
    ],
)
def test_an_error_without_a_key_is_told_in_full(message: str) -> None:
    assert brief(ValueError(message)) == f"ValueError: {message}"


def test_an_error_is_told_in_one_short_line() -> None:
    text = brief(RuntimeError("many\nlines\n" * 100))
    assert len(text.splitlines()) == 1
    assert len(text) < 320


@pytest.mark.parametrize(
    "error",
    [
        LMAuthError("no"),
        LMBillingError("no"),
        LMConfigurationError("no"),
        LMUnsupportedModelError("no"),
        LMUnsupportedFeatureError("no images"),
        LMInvalidRequestError("no such model", status=404),
        ImportError("pip install x"),
    ],
    ids=repr,
)
def test_an_error_that_every_call_would_meet_ends_the_search(error: Exception) -> None:
    with pytest.raises(SearchStoppedError, match=r"'scripted/model' cannot be used: .*no|install"):
        stop_if_hopeless(error, scripted_lm(["x"]))


@pytest.mark.parametrize(
    "error",
    [
        LMRateLimitError("slow down", status=429),
        LMTimeoutError("late"),
        LMServerError("oops", status=500),
        LMTransportError("refused"),
        LMUnexpectedError("?"),
        LMProviderError("?"),
        LMInvalidRequestError("too long", status=400),
        ConnectionError("reset"),
        RuntimeError("?"),
    ],
    ids=repr,
)
def test_an_error_that_a_later_call_may_not_meet_passes(error: Exception) -> None:
    stop_if_hopeless(error, scripted_lm(["x"]))
