"""How long does a search take whose language model takes a second for each answer?"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from tempfile import TemporaryDirectory

import dspy

from benchmarks.scoring.rows import Figure, Row
from benchmarks.scoring.workload import Workload
from ipo_dspy import CLIPClassifier, IPOOptimizer, clip_acc
from ipo_dspy.demo.world import BASE_CLASSES, DEMO_MEDIUM, write_folder

STEPS = 20
PROMPTS_PER_STEP = 8
SECONDS_PER_ANSWER = 1.0


def measure_waiting(_: Workload) -> list[Row]:
    """Search on the demo's pictures, step by step and steadily, with a server that sleeps.

    A search of one step comes first, for whatever is done once in a process.
    """
    floor = STEPS * SECONDS_PER_ANSWER
    rows = []
    with TemporaryDirectory() as folder, _slow_model() as lm:
        write_folder(
            folder,
            medium=DEMO_MEDIUM,
            class_names=BASE_CLASSES,
            per_class=1,
            seed=0,
            split="train",
        )
        program = CLIPClassifier.from_folder(folder)
        _search(program, lm, steps=1, steady=False)
        for steady in (False, True):
            start = time.perf_counter()
            found = _search(program, lm, steps=STEPS, steady=steady)
            seconds = time.perf_counter() - start
            scored = len(found.detailed_results.prompts)
            rows.append(
                Row(
                    what=f"{STEPS} steps of {PROMPTS_PER_STEP} prompts, "
                    + ("steadily" if steady else "step by step"),
                    against=f"the floor of {floor:g} s",
                    figures={
                        "times as long": Figure(seconds / floor, at_most=1.1),
                        "prompts scored": Figure(scored, at_least=STEPS * PROMPTS_PER_STEP),
                    },
                    seconds={"search": seconds},
                )
            )
    return rows


def _search(program: CLIPClassifier, lm: dspy.LM, *, steps: int, steady: bool) -> dspy.Module:
    optimizer = IPOOptimizer(
        clip_acc,
        prompt_model=lm,
        steps=steps,
        prompts_per_step=PROMPTS_PER_STEP,
        num_threads=PROMPTS_PER_STEP,
        steady=steady,
    )
    return optimizer.compile(program)


@contextmanager
def _slow_model() -> Iterator[dspy.LM]:
    """A model behind a server that gives a new prompt with every answer."""
    numbers = count()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(SECONDS_PER_ANSWER)
            answer = _completion(f"a chalk drawing of a <CLASS>, number {next(numbers)}.").encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    class Server(ThreadingHTTPServer):
        # Of more calls at once than fit here, some would wait a second for their connection.
        request_queue_size = 8 * PROMPTS_PER_STEP

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield dspy.LM(
            "openai/slow",
            api_base=address,
            api_key="none",  # pragma: allowlist secret
            cache=False,
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _completion(prompt: str) -> str:
    content = f"[[ ## prompt ## ]]\n{prompt}\n\n[[ ## completed ## ]]"
    message = {"role": "assistant", "content": content}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return json.dumps({"id": "1", "model": "slow", "choices": choices, "usage": usage})
