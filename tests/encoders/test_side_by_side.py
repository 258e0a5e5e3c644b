from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from ipo_dspy.encoders.side_by_side import run_side_by_side


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order() -> None:
    assert run_side_by_side([lambda n=n: n * n for n in range(20)]) == [n * n for n in range(20)]


def test_works_run_at_the_same_time_on_one_thread_each() -> None:
    together = threading.Barrier(3, timeout=30)

    def work() -> tuple[int, bool]:
        together.wait()
        return torch.get_num_threads(), torch.is_inference_mode_enabled()

    assert run_side_by_side([work] * 3) == [(1, True)] * 3


def test_other_threads_keep_all_of_torch_s() -> None:
    run_side_by_side([lambda: None] * 3)
    found: list[int] = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [3]
    assert torch.get_num_threads() == 3


def test_a_fault_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        run_side_by_side([lambda: 1, lambda: 1 // 0])
