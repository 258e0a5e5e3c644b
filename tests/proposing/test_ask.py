from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import dspy
import pytest

from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.proposing.ask import NO_ANSWER, Answer, ask
from ipo_dspy.testing import ScriptedEngine, scripted_lm

ServeLM = Callable[..., AbstractContextManager[dspy.LM]]
QUESTION = {"question": "?"}


def answer(lm: dspy.BaseLM) -> Answer:
    return ask(lm, dspy.Predict("question -> prompt"), "prompt", QUESTION)


def test_the_asked_field_comes_back_as_text() -> None:
    assert answer(scripted_lm(["a photo"])) == Answer(text="a photo")


def test_an_answer_that_misses_the_format_comes_back_whole_after_one_call() -> None:
    lm = scripted_lm(["a photo"], field=None)
    assert answer(lm) == Answer(text="a photo")
    assert len(lm.engine.requests) == 1


@pytest.mark.parametrize(
    "reply",
    [
        "<think>\nor\n[[ ## prompt ## ]]\na draft\n</think>\n\n[[ ## prompt ## ]]\na photo",
        "[[ ## prompt ## ]]\nhm\n</think>\na photo",
        "Let me see.\n</thinking>\n\na photo",
    ],
)
def test_drafts_within_the_reasoning_are_no_answer(reply: str) -> None:
    text = answer(scripted_lm([reply], field=None)).text
    assert text is not None
    assert text.strip() == "a photo"


def test_a_configured_adapter_is_used_as_it_is() -> None:
    lm = scripted_lm(['{"prompt": "a photo"}'], field=None)
    with dspy.context(adapter=dspy.JSONAdapter()):
        assert answer(lm) == Answer(text="a photo")


def test_no_answer_is_an_error_and_no_text() -> None:
    assert answer(scripted_lm([""], field=None)) == Answer(error=NO_ANSWER)


def test_a_module_that_gives_nothing_is_an_error() -> None:
    class Nothing(dspy.Module):
        def forward(self, question: str) -> dspy.Prediction:
            return dspy.Prediction(prompt=None)

    assert ask(scripted_lm(["x"]), Nothing(), "prompt", QUESTION) == Answer(error=NO_ANSWER)


def test_settings_are_as_before_afterwards() -> None:
    before = dict(dspy.settings.config)
    answer(scripted_lm(["a photo"]))
    assert dict(dspy.settings.config) == before


def test_a_language_model_that_is_a_subclass_may_lose_its_connection() -> None:
    class Lost(dspy.BaseLM):
        def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
            raise ConnectionResetError("gone")

    with pytest.warns(DeprecationWarning, match="forward"):
        assert answer(Lost("own/model")).error == "ConnectionResetError: gone"


class ServiceError(Exception):
    """Derives straight from Exception, as the errors of httpx and openai do."""


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("odd"), ServiceError("odd")])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_whatever_a_language_model_raises_is_an_error_that_passes(error: Exception) -> None:
    class Odd(dspy.BaseLM):
        def forward(self, prompt: Any = None, messages: Any = None, **kwargs: Any) -> Any:
            raise error

    assert "odd" in str(answer(Odd("own/model")).error)


def test_whatever_a_proposer_raises_is_an_error_that_passes() -> None:
    class Odd(dspy.Module):
        def forward(self, question: str) -> dspy.Prediction:
            raise ServiceError("odd")

    assert ask(scripted_lm(["x"]), Odd(), "prompt", QUESTION).error == "ServiceError: odd"


def test_a_field_that_a_module_does_not_have_is_no_failure_of_the_language_model() -> None:
    with pytest.raises(AttributeError, match="other"):
        ask(scripted_lm(["a photo"]), dspy.Predict("question -> prompt"), "other", QUESTION)


def test_a_missing_package_ends_the_search() -> None:
    def complain(number: int, request: str) -> str:
        raise ImportError("pip install something")

    with pytest.raises(SearchStoppedError, match="pip install something"):
        answer(scripted_lm(complain))


def test_a_real_server_is_asked_through_dspys_client(serve_lm: ServeLM) -> None:
    with serve_lm(content="[[ ## prompt ## ]]\na photo") as lm:
        assert answer(lm) == Answer(text="a photo")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, '{"error": {"message": "slow down"}}'),
        (500, '{"error": {"message": "oops"}}'),
        (503, "<html>busy</html>"),
        (400, '{"error": {"message": "too long"}}'),
        (200, "<html>not JSON</html>"),
        (200, "[]"),
        (200, '{"choices": []}'),
        (200, '{"choices": [{"message": {"content": null}}]}'),
        (200, '{"choices": [{"message": {"content": ""}}]}'),
    ],
)
def test_a_failing_or_babbling_server_is_an_error_that_passes(
    serve_lm: ServeLM, status: int, body: str
) -> None:
    with serve_lm(status=status, body=body) as lm:
        text, error = answer(lm)
    assert text is None
    assert error


def test_a_server_that_is_gone_is_an_error_that_passes(serve_lm: ServeLM) -> None:
    with serve_lm(content="") as lm:
        pass
    assert answer(lm).error


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, '{"error": {"message": "Incorrect API key provided: a-secret-of-mine"}}'),
        (403, '{"error": {"message": "forbidden"}}'),
        (404, '{"error": {"message": "no such model"}}'),
        (429, '{"error": {"message": "no money left", "code": "insufficient_quota"}}'),
    ],
)
def test_a_server_that_will_never_answer_ends_the_search(
    serve_lm: ServeLM, status: int, body: str
) -> None:
    with serve_lm(status=status, body=body) as lm, pytest.raises(SearchStoppedError) as stopped:
        answer(lm)
    assert "'openai/x' cannot be used" in str(stopped.value)
    assert "a-secret-of-mine" not in str(stopped.value)


def test_an_engine_that_breaks_is_an_error_that_passes() -> None:
    class Broken(ScriptedEngine):
        def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
            raise AttributeError("a bug")

    lm = dspy.LM("own/engine", engine=Broken(lambda number, request: ""), num_retries=0)
    assert "a bug" in str(answer(lm).error)
