from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
import torch

from ipo_dspy.encoders.parallel import parallel_map


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order() -> None:
    assert parallel_map([lambda n=n: n * n for n in range(20)]) == [n * n for n in range(20)]


def test_works_run_at_the_same_time_on_one_thread_each() -> None:
    together = threading.Barrier(3, timeout=30)

    def work() -> int:
        together.wait()
        return torch.get_num_threads()

    assert parallel_map([work] * 3) == [1] * 3


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_tasks_run_in_the_mode_of_their_caller(
    mode: Callable[[], AbstractContextManager[None]],
) -> None:
    def found() -> tuple[bool, bool]:
        return torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    with mode():
        assert parallel_map([found] * 3) == [found()] * 3


def test_other_threads_keep_all_of_torch_s() -> None:
    parallel_map([lambda: None] * 3)
    found: list[int] = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [3]
    assert torch.get_num_threads() == 3


def test_a_fault_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        parallel_map([lambda: 1, lambda: 1 // 0])


FORKING = """
import os
import torch
from ipo_dspy.encoders.parallel import parallel_map

torch.set_num_threads(3)
works = [lambda: 1, lambda: 2, lambda: 3]
parallel_map(works)
child = os.fork()
if child == 0:
    os._exit(sum(parallel_map(works)))
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    with subprocess.Popen([sys.executable, "-c", FORKING], start_new_session=True) as forking:
        try:
            assert forking.wait(timeout=60) == 6
        finally:
            _kill_session(forking)


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """End a process and the ones it forked, which would wait for ever."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
