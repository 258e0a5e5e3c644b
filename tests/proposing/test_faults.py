import traceback

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

from ipo_dspy.errors import ArgumentError, SearchStoppedError
from ipo_dspy.proposing.faults import check_address, stop_if_hopeless
from ipo_dspy.proposing.models import Connection
from ipo_dspy.testing import scripted_lm


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


@pytest.mark.parametrize("address", [None, "http://localhost:8000/v1", "https://me:x@host/v1?a=b"])
def test_an_address_that_can_be_reached_passes(address: str | None) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address",
    ["localhost:8000/v1", "host", "ftp://host", "http://", "http://[::1", "http://host:99999", " "],
)
def test_an_address_that_nothing_could_reach_is_refused_at_the_start(address: str) -> None:
    with pytest.raises(ArgumentError, match="http://localhost:8000/v1"):
        check_address(address)


def test_a_user_in_an_address_which_dspy_cannot_reach_is_refused_at_the_start() -> None:
    with pytest.raises(ArgumentError, match="OPENAI_API_KEY") as refused:
        Connection(api_base="http://anna:pw@host:8000/v1")
    assert "anna" not in str(refused.value)
    assert "pw" not in str(refused.value)


def test_a_refused_address_keeps_its_secrets() -> None:
    with pytest.raises(ArgumentError) as refused:
        check_address("ftp://anna:pw@host?sig=q7")
    assert "pw" not in str(refused.value)
    assert "q7" not in str(refused.value)


def test_no_traceback_tells_a_key_that_a_server_sent_back() -> None:
    lm = dspy.LM("openai/x", api_key="Zq7-mine")
    for said, is_told in (("bad key Zq7-mine", False), ("no such account", True)):
        try:
            try:
                raise LMAuthError(said)
            except LMAuthError as error:
                stop_if_hopeless(error, lm)
        except SearchStoppedError as stopped:
            told = "".join(traceback.format_exception(stopped))
        assert "Zq7" not in told
        assert ("LMAuthError(" in told or told.count("LMAuthError") > 1) == is_told
