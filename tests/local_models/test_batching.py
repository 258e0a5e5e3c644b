import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipo_dspy.local_models.batching import Batcher


class Doubler:
    """Doubles numbers and remembers its batches; three is too much for it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        if 3 in items:
            raise ValueError("three is too much")
        return [2 * item for item in items]


def test_simultaneous_items_run_as_one_batch_and_each_gets_its_own_result() -> None:
    doubler = Doubler()
    batcher = Batcher(doubler, most=16, gather_seconds=0.2)
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(batcher.submit, range(10, 20)))
    assert results == [2 * item for item in range(10, 20)]
    assert len(doubler.batches) <= 2


@pytest.mark.slow
def test_a_batch_has_at_most_so_many_items() -> None:
    doubler = Doubler()
    batcher = Batcher(doubler, most=3, gather_seconds=0.1)
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(batcher.submit, range(10, 20)))
    assert results == [2 * item for item in range(10, 20)]
    assert max(map(len, doubler.batches)) == 3


def test_an_error_reaches_the_caller_and_the_next_item_runs() -> None:
    batcher = Batcher(Doubler(), most=4, gather_seconds=0)
    with pytest.raises(ValueError, match="too much"):
        batcher.submit(3)
    assert batcher.submit(4) == 8


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    Batcher(Doubler(), most=4).submit(1)
    assert threading.active_count() == before


def test_a_batch_needs_room() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Batcher(Doubler(), most=0)
