from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.features.parts import Part, Parts


def take(parts: Parts) -> Part:
    [part] = parts.take(1)
    return part


@given(
    images=st.integers(1, 300),
    size=st.integers(1, 200),
    retries=st.integers(0, 3),
    workers=st.integers(1, 5),
    killers=st.sets(st.integers(0, 299), max_size=5),
    seed=st.integers(0, 99),
)
def test_every_image_is_done_once_or_killed_alone_whoever_dies(
    images: int, size: int, retries: int, workers: int, killers: set[int], seed: int
) -> None:
    chance = random.Random(seed)
    parts = Parts(images, size, retries, 1)
    done: Counter[int] = Counter()
    blamed = set()
    in_hand: list[Part] = []
    from_outside = 20
    while parts.left:
        in_hand += parts.take(workers - len(in_hand))
        part = in_hand.pop(chance.randrange(len(in_hand)))
        assert len(part.numbers) <= size
        killed = len(part.numbers) > 1 and from_outside > 0 and chance.random() < 0.3
        from_outside -= killed
        if killed or killers & set(part.numbers):
            if parts.lost(part):
                blamed |= set(part.numbers)
        else:
            parts.done(part)
            done.update(part.numbers)
    assert blamed == {number for number in killers if number < images}
    assert done == Counter(set(range(images)) - blamed)
    assert not list(parts.take(1))


def test_a_lost_part_comes_again_before_others_and_then_in_eighths() -> None:
    parts = Parts(1000, 64, retries=1, least=1)
    lost = take(parts)
    assert not parts.lost(lost)
    assert take(parts).numbers == lost.numbers == range(64)
    assert not parts.lost(lost)
    assert [part.numbers for part in parts.take(2)] == [range(8), range(8, 16)]


def test_where_workers_do_not_live_long_parts_shrink_and_later_grow_again() -> None:
    parts = Parts(1000, 64, retries=0, least=1)
    first, second = parts.take(2)
    parts.lost(first)
    eighths = list(parts.take(8))
    assert [len(part.numbers) for part in parts.take(1)] == [8]
    parts.done(eighths[0])
    assert len(take(parts).numbers) == 16
    parts.done(second)
    assert len(take(parts).numbers) == 64


def test_on_a_gpu_no_part_is_smaller_than_a_batch_but_one_that_kills() -> None:
    parts = Parts(5000, 1024, retries=0, least=64)
    parts.lost(take(parts))
    eighth = take(parts)
    assert len(eighth.numbers) == 128
    parts.lost(eighth)
    assert len(take(parts).numbers) == 64
