import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dspy
import pytest

from ipo_dspy.asking import NO_ANSWER, Answer, ask
from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.testing import ScriptedEngine, scripted_lm

QUESTION = {"question": "?"}
KEY = "a-secret-of-mine"


def answer(lm: dspy.BaseLM) -> Answer:
    return ask(lm, dspy.Predict("question -> prompt"), "prompt", QUESTION)


def test_the_asked_field_comes_back_as_text() -> None:
    assert answer(scripted_lm(["a photo"])) == Answer(text="a photo")


def test_an_answer_that_misses_the_format_comes_back_whole_after_one_call() -> None:
    lm = scripted_lm(["a photo"], field=None)
    assert answer(lm) == Answer(text="a photo")
    assert len(lm.engine.requests) == 1


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


def test_a_missing_package_ends_the_search() -> None:
    def complain(number: int, request: str) -> str:
        raise ImportError("pip install something")

    with pytest.raises(SearchStoppedError, match="pip install something"):
        answer(scripted_lm(complain))


def completion(content: str | None) -> str:
    message = {"role": "assistant", "content": content}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "1", "model": "x", "choices": [choice], "usage": usage})


@contextmanager
def served(status: int, body: str) -> Iterator[dspy.LM]:
    """A language model behind a real HTTP server that always answers the same."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}/v1"
    lm = dspy.LM("openai/x", api_base=base, api_key=KEY, cache=False, num_retries=0, timeout=5)
    try:
        yield lm
    finally:
        lm.close()
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_real_server_is_asked_through_dspys_client() -> None:
    with served(200, completion("[[ ## prompt ## ]]\na photo")) as lm:
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
        (200, completion(None)),
        (200, completion("")),
    ],
)
def test_a_failing_or_babbling_server_is_an_error_that_passes(status: int, body: str) -> None:
    with served(status, body) as lm:
        text, error = answer(lm)
    assert text is None
    assert error


def test_a_server_that_is_not_there_is_an_error_that_passes() -> None:
    with served(200, "") as lm:
        gone = lm.kwargs["api_base"]
    lm = dspy.LM("openai/x", api_base=gone, api_key=KEY, cache=False, num_retries=0)
    assert answer(lm).error


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}"}})),
        (403, '{"error": {"message": "forbidden"}}'),
        (404, '{"error": {"message": "no such model"}}'),
        (429, '{"error": {"message": "no money left", "code": "insufficient_quota"}}'),
    ],
)
def test_a_server_that_will_never_answer_ends_the_search(status: int, body: str) -> None:
    with served(status, body) as lm, pytest.raises(SearchStoppedError) as stopped:
        answer(lm)
    assert "'openai/x' cannot be used" in str(stopped.value)
    assert KEY not in str(stopped.value)


def test_a_half_character_in_an_answer_does_not_end_a_run() -> None:
    with served(200, completion("half \ud800 a character")) as lm:
        text, _ = answer(lm)
    assert text == "half \ud800 a character"


def test_an_engine_that_breaks_is_an_error_that_passes() -> None:
    class Broken(ScriptedEngine):
        def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
            raise AttributeError("a bug")

    lm = dspy.LM("own/engine", engine=Broken(lambda number, request: ""), num_retries=0)
    assert "a bug" in str(answer(lm).error)
