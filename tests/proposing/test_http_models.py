"""`--prompt-model openai/x` through DSPy's real client, against a server that behaves or does not.

DSPy reaches a server by two ways: an address given to it goes through its own client, one in the
environment through LiteLLM.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from ipo_dspy.cli import main
from ipo_dspy.demo.world import DEMO_MEDIUM, write_folder

pytestmark = pytest.mark.slow

KEY = "no-shape-of-a-key-1234"
CLASSES = ("apple", "boat", "cup", "fish")


class Answer(NamedTuple):
    """What the server does with one request."""

    status: int = 200
    body: str = ""
    headers: Mapping[str, str] = MappingProxyType({})
    seconds: float = 0.0


class Server(ThreadingHTTPServer):
    """Answers request number i, from 0, as `script(i, request)` says."""

    daemon_threads = True

    def __init__(self, script: Callable[[int, dict[str, Any]], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(request)
        answer = self.server.script(number, request)
        time.sleep(answer.seconds)
        try:
            self.send_response(answer.status)
            for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body.encode())))
            self.end_headers()
            self.wfile.write(answer.body.encode())
        except OSError:
            return  # The client has given up.

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def says(content: str, seconds: float = 0.0) -> Answer:
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": content},
    }
    usage = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}
    body = {"id": "1", "object": "chat.completion", "created": 1, "model": "x"}
    return Answer(body=json.dumps({**body, "choices": [choice], "usage": usage}), seconds=seconds)


def proposes(number: int, seconds: float = 0.0) -> Answer:
    text = f"chalk drawing number {number} of a <CLASS>."
    return says(f"[[ ## prompt ## ]]\n{text}\n\n[[ ## completed ## ]]", seconds)


def fails(status: int, code: str, **headers: str) -> Answer:
    error = {"message": f"No: {code}, key {KEY}.", "type": "error", "code": code}
    return Answer(status, json.dumps({"error": error}), headers)


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str
    requests: list[dict[str, Any]]


Against = Callable[..., Outcome]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawings")
    write_folder(folder, medium=DEMO_MEDIUM, class_names=CLASSES, per_class=3, seed=7, split="test")
    return folder


@pytest.fixture(params=["given", "environment"])
def way(request: pytest.FixtureRequest) -> str:
    """How the server's address reaches DSPy."""
    return str(request.param)


@pytest.fixture
def against(
    own_cache: None,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Against]:
    """Run a search against a server, by default of two steps of three prompts."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    servers: list[Server] = []

    def command(
        script: Callable[[int, dict[str, Any]], Answer],
        *arguments: object,
        way: str = "given",
        steps: int = 2,
        prompts: int = 3,
    ) -> Outcome:
        server = Server(script)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = ["--api-base", server.address]
        if way == "environment":
            monkeypatch.setenv("OPENAI_API_BASE", server.address)
            address = []
        standard = ["--prompt-model", "openai/x", "--prompts-per-step", prompts, "--steps", steps]
        everything = ["optimize", pictures, *standard, *address, "--out", tmp_path / "run"]
        code = 0
        try:
            main([str(argument) for argument in (*everything, *arguments)])
        except SystemExit as end:
            code = int(end.code or 0)
        return Outcome(code, *capsys.readouterr(), server.requests)

    yield command
    for server in servers:
        server.shutdown()
        server.server_close()


def journal(folder: Path, kind: str) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    return [event[kind] for event in events if kind in event]


def sentence(outcome: Outcome) -> str:
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("ipo-dspy: ")
    return last


def test_answers_become_trials_and_tokens_are_counted(
    against: Against, way: str, tmp_path: Path
) -> None:
    outcome = against(lambda number, request: proposes(number), way=way)

    assert outcome.code == 0, outcome.err
    assert len(outcome.requests) == 6
    assert "6 calls of the prompt model, tokens: 600, cost: unknown" in " ".join(
        outcome.out.split()
    )
    texts = {trial["text"] for trial in journal(tmp_path / "run", "trial")}
    assert texts >= {f"chalk drawing number {number} of a <CLASS>." for number in range(6)}


def test_the_calls_of_a_step_are_out_at_the_same_time(against: Against) -> None:
    arrivals = threading.Barrier(3, timeout=10)

    def wait_for_all(number: int, request: dict[str, Any]) -> Answer:
        arrivals.wait()
        return proposes(number)

    assert against(wait_for_all).code == 0


def test_passing_trouble_does_not_end_the_run(against: Against, way: str, tmp_path: Path) -> None:
    trouble = {
        0: fails(429, "rate_limit_exceeded", **{"Retry-After": "0.05"}),
        1: fails(500, "server_error"),
        2: Answer(body="<html>a gateway's page</html>"),
        4: says("I am sorry."),
        6: Answer(body="{}"),
        8: proposes(8, seconds=0.3),
    }

    outcome = against(lambda number, request: trouble.get(number, proposes(number)), way=way)

    assert outcome.code == 0, outcome.err
    assert sum(trial["state"] == "ok" for trial in journal(tmp_path / "run", "trial")) >= 4


@pytest.mark.parametrize(
    "answer", [fails(401, "invalid_api_key"), fails(404, "model_not_found"), Answer(404, "Lost")]
)
def test_hopeless_trouble_ends_the_run_at_once_without_showing_the_key(
    against: Against, way: str, tmp_path: Path, answer: Answer
) -> None:
    outcome = against(lambda number, request: answer, way=way)

    assert "'openai/x' cannot be used" in sentence(outcome)
    assert len(outcome.requests) <= 3
    assert KEY not in outcome.err + outcome.out + (tmp_path / "run/journal.jsonl").read_text()


def test_after_a_wrong_key_the_same_command_goes_on(
    against: Against, tmp_path: Path, pictures: Path
) -> None:
    def key_expires(number: int, request: dict[str, Any]) -> Answer:
        return proposes(number) if number < 3 else fails(401, "invalid_api_key")

    assert against(key_expires).code == 1
    outcome = against(lambda number, request: proposes(10 + number))

    assert outcome.code == 0, outcome.err
    assert len(outcome.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body="not JSON"),
        says("I am sorry."),
        says(""),
        Answer(body=json.dumps({"id": "1", "object": "x", "model": "x", "choices": []})),
        fails(400, "bad_request"),
        fails(429, "rate_limit_exceeded", **{"Retry-After": "0.01"}),
    ],
    ids=["no JSON", "no prompt", "empty", "no choices", "bad request", "rate limit"],
)
def test_ten_useless_answers_in_a_row_end_the_run(against: Against, answer: Answer) -> None:
    outcome = against(lambda number, request: answer, steps=9)

    assert "10 useless answers in a row" in sentence(outcome)


def test_a_run_that_a_rate_limit_ends_says_how_to_ask_less(against: Against) -> None:
    busy = fails(429, "rate_limit_exceeded", **{"Retry-After": "0.01"})

    assert "--num-threads 1" in sentence(against(lambda number, request: busy, steps=9))


def test_no_choices_by_the_other_way(against: Against) -> None:
    answer = Answer(body=json.dumps({"id": "1", "object": "x", "model": "x", "choices": []}))
    outcome = against(lambda number, request: answer, steps=9, way="environment")

    assert "10 useless answers in a row" in sentence(outcome)


def test_a_server_that_never_answers_ends_the_run_with_a_hint(against: Against) -> None:
    outcome = against(lambda number, request: Answer(seconds=60), "--timeout", 0.2, prompts=10)

    assert "--timeout" in sentence(outcome)


def test_a_vision_model_describes_the_images_for_the_prompt_model(
    against: Against, tmp_path: Path
) -> None:
    def answer(number: int, request: dict[str, Any]) -> Answer:
        if "image_url" not in json.dumps(request):
            return proposes(number)
        text = "White lines, perhaps an apple."
        return says(f"[[ ## description ## ]]\n{text}\n\n[[ ## completed ## ]]")

    outcome = against(answer, "--image-model", "openai/sees")

    assert outcome.code == 0, outcome.err
    assert len(journal(tmp_path / "run", "description")) == 8
    proposals = [r for r in outcome.requests if r["model"] == "x"]
    assert all("White lines, perhaps an object." in json.dumps(r) for r in proposals)


def test_an_image_model_that_fails_ends_the_run(against: Against) -> None:
    def answer(number: int, request: dict[str, Any]) -> Answer:
        return fails(400, "no_images_please")

    outcome = against(answer, "--image-model", "openai/sees")

    assert "image" in sentence(outcome)
    # Such an error may pass, so each of the eight images is asked for three times.
    assert len(outcome.requests) == 24
