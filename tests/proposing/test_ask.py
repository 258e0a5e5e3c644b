from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import dspy
import pytest

from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.proposing.ask import MOST_BYTES, NO_ANSWER, Answer, Endpoint
from ipo_dspy.testing import ScriptedEngine, scripted_lm

ServeLM = Callable[..., AbstractContextManager[dspy.LM]]
QUESTION = {"question": "?"}


def answer(lm: dspy.BaseLM, **parameters: Any) -> Answer:
    return ask(lm, dspy.Predict("question -> prompt"), "prompt", QUESTION, **parameters)


def ask(
    lm: dspy.BaseLM,
    module: dspy.Module,
    field: str,
    inputs: dict[str, str],
    **parameters: Any,
) -> Answer:
    found = Endpoint(lm).ask(module, field, inputs, parameters)
    return Answer(found.text, found.error)


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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_field_that_a_module_does_not_have_ends_the_search() -> None:
    with pytest.raises(SearchStoppedError, match="other"):
        ask(scripted_lm(["a photo"]), dspy.Predict("question -> prompt"), "other", QUESTION)


def test_a_missing_package_ends_the_search() -> None:
    def complain(number: int, request: str) -> str:
        raise ImportError("pip install something")

    with pytest.raises(SearchStoppedError, match="pip install something"):
        answer(scripted_lm(complain))


def test_a_real_server_is_asked_through_dspys_client(serve_lm: ServeLM) -> None:
    with serve_lm(content="[[ ## prompt ## ]]\na photo") as lm:
        assert answer(lm) == Answer(text="a photo")


def test_an_answer_longer_than_is_kept_is_an_error_and_stays_nowhere(serve_lm: ServeLM) -> None:
    with serve_lm(content="[[ ## prompt ## ]]\n" + "<CLASS> " * 250_000, timeout=60) as lm:
        found = answer(lm)
        assert found.text is None
        assert "1,999,999" in str(found.error)
        assert len(str(lm.history[-1]["outputs"])) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"headers": {"X-Of": "mine"}}], ids=["DSPy", "LiteLLM"])
def test_no_more_is_read_than_an_answer_may_have(
    serve_lm: ServeLM, settings: dict[str, Any]
) -> None:
    with serve_lm(content="<CLASS> " * 6_250_000, timeout=60, **settings) as lm:
        found = answer(lm)
    assert found.text is None
    assert f"{MOST_BYTES:,} bytes" in str(found.error)


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
        (200, '{"choices": [{"message": {"role": "assistant", "content": " \\n "}}]}'),
    ],
)
def test_a_failing_or_babbling_server_is_an_error_that_passes(
    serve_lm: ServeLM, status: int, body: str
) -> None:
    with serve_lm(status=status, body=body) as lm:
        retries: list[str] = []
        lm.num_retries = 1
        module = dspy.Predict("question -> prompt")
        found = Endpoint(lm).ask(module, "prompt", QUESTION, {}, retries.append)
    assert found.text is None
    assert [found.error] == retries


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


def faulty(*faults: Exception, retries: int = 2) -> dspy.LM:
    """A model that raises these, one a call, and then answers."""

    def said(number: int, request: str) -> str:
        if number < len(faults):
            raise faults[number]
        return "a photo"

    return dspy.LM("own/engine", engine=ScriptedEngine(said), cache=False, num_retries=retries)


def invalid(message: str) -> Exception:
    return dspy.lm15.InvalidRequestError(message, provider="p", status=400)


def asked(lm: dspy.LM, **parameters: Any) -> tuple[Answer, list[str]]:
    retries: list[str] = []
    question = dspy.Predict("question -> prompt")
    return Endpoint(lm).ask(question, "prompt", QUESTION, parameters, retries.append), retries


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ipo_dspy.proposing.ask._FIRST_PAUSE", 0.0)


@pytest.mark.usefixtures("no_pause")
@pytest.mark.parametrize(
    "fault",
    [
        invalid("try again"),
        dspy.lm15.ServerError("busy", provider="p", status=500),
        dspy.lm15.RateLimitError("slow down", provider="p", status=429),
        dspy.lm15.TransportError("reset"),
    ],
)
def test_a_fault_that_passes_is_asked_again_and_each_time_is_told(fault: Exception) -> None:
    answer, retries = asked(faulty(fault, fault))
    assert answer.text == "a photo"
    assert len(retries) == 2


@pytest.mark.usefixtures("no_pause")
def test_a_fault_that_stays_is_the_answer_after_as_many_tries_as_the_model_has() -> None:
    lm = faulty(*[invalid("no luck")] * 9, retries=3)
    answer, retries = asked(lm)
    assert "no luck" in str(answer.error)
    assert (len(retries), len(lm.engine.requests)) == (3, 4)


@pytest.mark.slow
def test_a_server_that_asks_to_wait_longer_than_a_call_may_take_is_not_waited_for(
    serve_lm: ServeLM,
) -> None:
    import time

    busy = '{"error": {"message": "slow down"}}'
    with serve_lm(status=429, body=busy, num_retries=5, timeout=2) as lm:
        began = time.monotonic()
        assert "slow down" in str(answer(lm).error)
        assert time.monotonic() - began < 60


def test_a_parameter_that_is_refused_is_left_out_once_and_for_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Any] = []

    class Strict(ScriptedEngine):
        def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
            seen.append(request.config.temperature)
            if request.config.temperature is not None:
                raise invalid("`temperature` is deprecated for this model.")
            return super().complete(request)

    lm = dspy.LM("own/engine", engine=Strict(lambda n, r: "x"), cache=False, num_retries=0)
    endpoint = Endpoint(lm)
    for _ in range(3):
        found = endpoint.ask(
            dspy.Predict("question -> prompt"), "prompt", QUESTION, {"temperature": 0.7}
        )
        assert found.text == "x"
    assert seen == [0.7, None, None, None]
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


@pytest.mark.parametrize(
    "reason",
    [
        "",
        "HTTP 422",
        "<html><head><title>422</title></head><body>Unprocessable Entity</body></html>",
        "litellm.BadRequestError: OpenAIException - Error code: 422",
    ],
)
def test_after_a_refusal_without_a_reason_the_likeliest_parameters_are_left_out(
    reason: str,
) -> None:
    found, _ = asked(faulty(invalid(reason), invalid(reason), retries=0), temperature=0.7, seed=3)
    assert found.text == "a photo"


def test_what_is_refused_for_another_reason_keeps_its_parameters() -> None:
    lm = faulty(invalid("no such thing"), retries=0)
    assert "no such thing" in str(asked(lm, temperature=0.7)[0].error)
    assert len(lm.engine.requests) == 1


@pytest.mark.slow
def test_a_call_that_hangs_ends_with_the_models_timeout() -> None:
    import threading

    never = threading.Event()

    class Hanging(dspy.Module):
        def forward(self, question: str) -> dspy.Prediction:
            never.wait(60)
            return dspy.Prediction(prompt="late")

    lm = dspy.LM("openai/x", api_key="none", timeout=0.1)
    answer = Endpoint(lm).ask(Hanging(), "prompt", QUESTION, {})
    never.set()
    assert answer.error == "it timed out after 0.1 seconds"
