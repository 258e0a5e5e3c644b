"""What all tests share: a language model behind a real HTTP server, and a cache of one's own."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dspy
import hypothesis
import pytest

# A busy machine is no failure, and a change is judged by the examples that its author saw too. New
# ones are looked for with `pytest --hypothesis-profile=explore`.
hypothesis.settings.register_profile("same", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("same")


@pytest.fixture(autouse=True)
def own_feature_cache(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep no features in the cache of the person who runs the tests."""
    monkeypatch.setenv("IPO_DSPY_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray for the whole run of the tests."""
    pytest.importorskip("ray")
    from ipo_dspy.features import cluster

    ray = cluster.connect()
    folder = cluster.local_folder()
    assert ray.cluster_resources()["CPU"] >= 4
    yield
    cluster.stop()
    assert folder is not None
    assert not folder.exists()
    assert not ray.is_initialized()


@pytest.fixture
def serve_lm() -> Callable[..., AbstractContextManager[dspy.LM]]:
    """Start a server that always answers the same; gives the language model that asks it.

    Args:
        content: what the language model says; 10 tokens are counted.
        body: the body of the answer, instead of one that holds `content`.
        status: the HTTP status of the answer.
        settings: for `dspy.LM`.
    """
    return _served


@contextmanager
def _served(
    *, content: str = "", body: str | None = None, status: int = 200, **settings: Any
) -> Iterator[dspy.LM]:
    answer = (_completion(content) if body is None else body).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    chosen = {"model": "openai/x", "cache": False, "num_retries": 0, "timeout": 5, **settings}
    base = f"http://127.0.0.1:{server.server_port}/v1"
    lm = dspy.LM(api_base=base, api_key="a-secret-of-mine", **chosen)
    try:
        yield lm
    finally:
        lm.close()
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(content: str) -> str:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": "stop",
    }
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    return json.dumps({"id": "1", "model": "gpt-4o-mini", "choices": [choice], "usage": usage})


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give DSPy an empty cache for one test."""
    monkeypatch.setattr(dspy, "cache", dspy.cache)
    dspy.configure_cache(disk_cache_dir=str(tmp_path / "cache"))
