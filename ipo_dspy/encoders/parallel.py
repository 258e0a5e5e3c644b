"""Tasks that run in parallel on the CPU, each on one thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import torch

WORTH_A_THREAD = 10**9
"""Multiplications that are worth a thread of their own: some milliseconds."""

_Result = TypeVar("_Result")

_lock = threading.Lock()
_pools: dict[int, ThreadPoolExecutor] = {}


def parallel_map(tasks: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Run tasks on as many threads as torch has: their results in order.

    They record a graph where the caller does, and are in inference mode where the caller is.

    Left to itself, torch splits every operation over all threads and waits for the last of them.
    Where operations are short and other programs run too, that waiting is most of the time.

    Raises:
        Exception: what a task raises.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        return [task() for task in tasks]
    run = partial(_run, torch.is_inference_mode_enabled(), torch.is_grad_enabled())
    return list(_pool(threads).map(run, tasks))


def _run(inference: bool, grad: bool, task: Callable[[], _Result]) -> _Result:
    # Threads do not inherit a mode.
    with torch.inference_mode() if inference else torch.set_grad_enabled(grad):
        return task()


@contextmanager
def threads_for(multiplications: int) -> Iterator[None]:
    """Let torch use as many threads as a piece of work is worth, and afterwards as many as before.

    Depends on the work and on how many threads torch has, so that results are the same again.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, multiplications // WORTH_A_THREAD)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _pool(threads: int) -> ThreadPoolExecutor:
    """The process's pool of that many threads, in each of which torch uses that one alone."""
    with _lock:
        if threads not in _pools:
            _pools[threads] = _start(threads)
        return _pools[threads]


def _start(threads: int) -> ThreadPoolExecutor:
    pool = ThreadPoolExecutor(threads, initializer=_use_one_thread)
    before = torch.get_num_threads()
    # What one thread sets holds for all that start later, so all of these start now.
    started = threading.Barrier(threads)
    wait([pool.submit(started.wait) for _ in range(threads)])
    torch.set_num_threads(before)
    return pool


def _use_one_thread() -> None:
    # A thread takes over what holds for all when it first asks, also after it was told otherwise.
    torch.get_num_threads()
    torch.set_num_threads(1)


def _forget_pools() -> None:
    """Forget the pools of the parent process, whose threads a fork leaves behind."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)
