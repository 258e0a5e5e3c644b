"""Times works in turn, so that whatever else the machine does slows all of them; counts them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Generic, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode

_Result = TypeVar("_Result")


class Work(Generic[_Result]):
    """A work to time whose last result is kept."""

    result: _Result

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work = work

    def __call__(self) -> None:
        """Do the work."""
        self.result = self._work()


def alternate(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Run the works one after another, again and again: the median seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            seconds[name].append(_time(work))
    return {name: median(taken) for name, taken in seconds.items()}


def operations_of(work: Callable[[], object]) -> float:
    """The floating-point operations of the matrix products that torch can count."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # Only on this thread can they be counted.
    with FlopCounterMode(display=False) as counter:
        work()
    torch.set_num_threads(threads)
    return counter.get_total_flops()


def matrix_rate(device: str) -> float:
    """Operations a second in a large bfloat16 product."""
    size = 2048 if device == "cpu" else 8192
    matrix = torch.randn(size, size, dtype=torch.bfloat16, device=device)
    seconds = alternate({"product": lambda: matrix @ matrix}, rounds=20)["product"]
    return 2 * size**3 / seconds


def _time(work: Callable[[], object]) -> float:
    _wait_for_device()
    start = time.perf_counter()
    work()
    _wait_for_device()
    return time.perf_counter() - start


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
