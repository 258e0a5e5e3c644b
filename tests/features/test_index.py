import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.features.index import KeyIndex, Keys, joined_keys


def keys(numbers: list[int]) -> Keys:
    digests = [hashlib.blake2b(str(n).encode(), digest_size=32).digest() for n in numbers]
    return joined_keys(digests)


@given(st.lists(st.lists(st.integers(0, 50), max_size=12), max_size=12), st.integers(0, 11))
def test_every_key_is_found_where_it_lies_and_no_other(
    shards: list[list[int]], forgotten: int
) -> None:
    index = KeyIndex()
    stored = {number: keys(shard) for number, shard in enumerate(shards)}
    for number, shard in stored.items():
        index.add([(number, shard)])
    index.forget(forgotten)
    there = {n for number, shard in enumerate(shards) if number != forgotten for n in shard}

    places = index.find(keys(list(range(60))), lambda number: stored[number])
    for number, (shard, row) in enumerate(places.tolist()):
        if number in there:
            assert shard != forgotten
            assert shards[shard][row] == number
        else:
            assert shard == row == -1


def test_keys_that_begin_alike_are_told_apart() -> None:
    alike = np.zeros((3, 32), np.uint8)
    alike[:, 31] = [1, 2, 3]
    index = KeyIndex()
    stored = {n: alike[n : n + 1] for n in range(2)}
    for number, shard in stored.items():
        index.add([(number, shard)])
    places = index.find(alike, lambda number: stored[number])
    assert places.tolist() == [[0, 0], [1, 0], [-1, -1]]
