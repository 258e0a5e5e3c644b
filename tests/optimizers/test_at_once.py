"""A search ends at once though calls hang, in a process of its own against a real server."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PATIENCE = 100.0
SCRIPT = """
import signal, sys, time
from pathlib import Path
import dspy
from ipo_dspy import Budget, CLIPClassifier, IPOOptimizer, LMDescriber
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples

# Who starts the tests in the background may have had SIGINT ignored, which children inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)
address, run_dir, stage, seconds = sys.argv[1:]
lm = dspy.LM("openai/x", api_base=address, api_key="none", cache=False, num_retries=0, timeout=600)
optimizer = IPOOptimizer(
    prompt_model=lm,
    describer=LMDescriber(lm) if stage == "describing" else "none",
    budget=Budget(steps=3, seconds=float(seconds) if seconds else None),
    run_dir=run_dir,
)
student = CLIPClassifier(list(COLOURS), ColourEncoder())
began = time.monotonic()
try:
    found = optimizer.compile(student, trainset=colour_examples()).detailed_results
    print("ended by", found.ended_by, flush=True)
except BaseException as error:
    print(type(error).__name__, flush=True)
    raise
"""


class Hanging(ThreadingHTTPServer):
    """Answers the first requests, one after the other as told, and then never again."""

    daemon_threads = True

    def __init__(self, *first: tuple[int, str]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.first = list(first)
        self.lock = threading.Lock()
        self.hung = threading.Semaphore(0)
        self.over = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Hanging

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            answer = self.server.first.pop(0) if self.server.first else None
        if answer is None:
            self.server.hung.release()
            self.server.over.wait(PATIENCE)
            return
        if answer[0] != 200:
            # The others are out by then.
            self.server.hung.acquire(timeout=PATIENCE)
        body = answer[1].encode()
        with suppress(OSError):
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


def says(text: str) -> tuple[int, str]:
    content = f"[[ ## prompt ## ]]\n{text}\n\n[[ ## completed ## ]]"
    choice = {"index": 0, "message": {"role": "assistant", "content": content}}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    body: dict[str, Any] = {"id": "1", "model": "x", "usage": usage}
    return 200, json.dumps({**body, "choices": [{**choice, "finish_reason": "stop"}]})


WRONG_KEY = (401, '{"error": {"message": "wrong key"}}')


@pytest.fixture
def servers() -> Iterator[list[Hanging]]:
    started: list[Hanging] = []
    yield started
    for server in started:
        server.over.set()
        server.shutdown()
        server.server_close()


def serve(servers: list[Hanging], *first: tuple[int, str]) -> Hanging:
    server = Hanging(*first)
    servers.append(server)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    return server


def start(server: Hanging, run_dir: Path, stage: str, seconds: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, server.address, str(run_dir), stage, seconds],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "IPO_DSPY_CACHE": "off"},
    )


def kinds(run_dir: Path) -> list[str]:
    lines = (run_dir / "journal.jsonl").read_bytes().splitlines()
    return [next(iter(json.loads(line))) for line in lines[1:]]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["describing", "proposing"])
def test_ctrl_c_ends_a_search_whose_calls_hang(
    servers: list[Hanging], tmp_path: Path, stage: str
) -> None:
    first = [says("a flat <CLASS>")] if stage == "proposing" else []
    server = serve(servers, *first)
    process = start(server, tmp_path, stage)
    assert server.hung.acquire(timeout=PATIENCE)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=PATIENCE)
    assert out == "KeyboardInterrupt\n"
    if stage == "proposing":
        assert "reply" in kinds(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["describing", "proposing"])
def test_a_wrong_key_ends_a_search_whose_other_calls_hang(
    servers: list[Hanging], tmp_path: Path, stage: str
) -> None:
    process = start(serve(servers, WRONG_KEY), tmp_path, stage)
    out, _ = process.communicate(timeout=PATIENCE)
    assert out == "SearchStoppedError\n"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["describing", "proposing"])
def test_the_time_of_a_run_is_up_though_calls_hang(
    servers: list[Hanging], tmp_path: Path, stage: str
) -> None:
    process = start(serve(servers), tmp_path, stage, seconds="0.5")
    out, _ = process.communicate(timeout=PATIENCE)
    assert out.startswith("ended by seconds")
    assert set(kinds(tmp_path)) == {"trial"}
