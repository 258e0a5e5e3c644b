import re

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.runs.masking import brief, mask, mask_own

keys = st.from_regex(r"[A-Za-z0-9_-]{20,40}", fullmatch=True)


@pytest.mark.slow
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


ADDRESS = "https://anna:pw@host.example/v1?sig=q7"


@pytest.mark.parametrize(
    "told",
    [
        ADDRESS,
        f"cannot reach {ADDRESS}: refused",
        "user anna may not log in",
        "wrong password pw",
        "signature sig=q7 is stale",
    ],
)
def test_of_an_address_user_password_and_query_are_never_told(told: str) -> None:
    lm = dspy.LM("openai/x", api_key="k", api_base=ADDRESS)
    text = brief(ConnectionError(told), lm)
    for secret in ("anna", "pw", "q7"):
        assert not re.search(rf"\b{secret}\b", text)


def test_an_address_in_any_text_loses_its_secrets_and_keeps_the_rest() -> None:
    masked = mask("POST http://me:you@127.0.0.1:8000/v1/chat?token=abc failed")
    assert masked == "POST http://***@127.0.0.1:8000/v1/chat?*** failed"


@given(st.from_regex(r"[A-Za-z0-9]{1,7}", fullmatch=True))
def test_a_short_key_is_a_key(key: str) -> None:
    lm = dspy.LM("openai/x", api_key=key)
    assert not re.search(rf"(?<!\w){key}(?!\w)", brief(ValueError(f"sent <{key}>"), lm))


def test_a_key_in_headers_is_masked_with_and_without_its_scheme() -> None:
    lm = dspy.LM("openai/x", api_key="k", extra_headers={"Authorization": "Bearer short"})
    assert "short" not in mask("the header was Bearer short, that is short", lm)


def test_words_that_hold_a_short_secret_stay() -> None:
    lm = dspy.LM("openai/x", api_key="art")
    assert mask_own("an artist paints art", lm) == "an artist paints ***"


def test_a_short_key_of_the_model_is_a_key_in_the_environment_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "Zq7")
    lm = dspy.LM("openai/x")
    assert mask_own("the key is Zq7.", lm) == "the key is ***."
    assert mask_own("the key is Zq7.", dspy.LM("groq/x")) == "the key is Zq7."


@pytest.mark.parametrize("key", ["none", "EMPTY"])
def test_what_stands_for_no_key_is_a_word_like_others(key: str) -> None:
    assert mask_own(f"a plate with {key} on it", dspy.LM("openai/x", api_key=key)).count("*") == 0
