"""Where the rows of many shards lie, by key; what is added costs the same however much there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 32
NOWHERE = -1
Keys: TypeAlias = NDArray[np.uint8]
"""Content hashes: [N, 32]."""
Places: TypeAlias = NDArray[np.int64]
"""Where rows lie, the number of a shard and the row in it: [N, 2]."""

_ROW_BITS = 32


class _Run(NamedTuple):
    """The first eight bytes of keys, sorted, and where each key lies, packed into one number."""

    heads: NDArray[np.uint64]
    places: NDArray[np.int64]


class KeyIndex:
    """Finds keys by their first eight bytes, in 16 bytes of memory a key.

    Sorted runs, each at least twice as long as the next, as in a log-structured merge tree: there
    are about log2(N) of them, and a key is sorted again about as often, whenever it was added.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def __len__(self) -> int:
        return sum(len(run.heads) for run in self._runs)

    def add(self, shards: Iterable[tuple[int, Keys]]) -> None:
        """Add the keys of shards, each with its number."""
        listed = [(number, keys) for number, keys in shards if len(keys)]
        if not listed:
            return
        heads = np.concatenate([_heads(keys) for _, keys in listed])
        places = np.concatenate(
            [(number << _ROW_BITS) + np.arange(len(keys)) for number, keys in listed]
        )
        self._runs.append(_sorted(heads, places))
        while len(self._runs) > 1 and len(self._runs[-2].heads) < 2 * len(self._runs[-1].heads):
            last, before = self._runs.pop(), self._runs.pop()
            self._runs.append(
                _sorted(
                    np.concatenate([before.heads, last.heads]),
                    np.concatenate([before.places, last.places]),
                )
            )

    def forget(self, number: int) -> None:
        """Take a shard out."""
        kept = [(run, run.places >> _ROW_BITS != number) for run in self._runs]
        self._runs = [_Run(run.heads[here], run.places[here]) for run, here in kept if here.any()]

    def find(self, keys: Keys, keys_of: Callable[[int], Keys]) -> Places:
        """Look up keys; -1 for those that are nowhere.

        Args:
            keys: [N, 32].
            keys_of: all keys of a shard, by its number.
        """
        found = np.full((len(keys), 2), NOWHERE, np.int64)
        heads = _heads(keys)
        missing = np.argsort(heads, kind="stable")  # In order, they are close in memory.
        for run in self._runs:
            if not len(missing):
                break
            asked, at = missing, np.searchsorted(run.heads, heads[missing])
            while len(asked):
                alike = at < len(run.heads)
                alike[alike] = run.heads[at[alike]] == heads[asked[alike]]
                asked, at = asked[alike], at[alike]
                places = _unpacked(run.places[at])
                same = _same(keys[asked], places, keys_of)
                found[asked[same]] = places[same]
                # Other keys may begin alike; they stand side by side.
                asked, at = asked[~same], at[~same] + 1
            missing = missing[found[missing, 0] == NOWHERE]
        return found


def _same(keys: Keys, places: Places, keys_of: Callable[[int], Keys]) -> NDArray[np.bool_]:
    """Whether the whole keys are those at these places."""
    same = np.zeros(len(keys), bool)
    order = np.argsort(places[:, 0], kind="stable")
    bounds = np.flatnonzero(np.diff(places[order, 0])) + 1
    for group in np.split(order, bounds) if len(order) else ():
        stored = keys_of(int(places[group[0], 0]))
        same[group] = (stored[places[group, 1]] == keys[group]).all(axis=1)
    return same


def _sorted(heads: NDArray[np.uint64], places: NDArray[np.int64]) -> _Run:
    order = np.argsort(heads, kind="stable")  # Linear where two sorted runs are joined.
    return _Run(heads[order], places[order])


def _unpacked(places: NDArray[np.int64]) -> Places:
    return np.column_stack([places >> _ROW_BITS, places & (2**_ROW_BITS - 1)])


def joined_keys(keys: Sequence[bytes]) -> Keys:
    """Put keys into one array."""
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)


def _heads(keys: Keys) -> NDArray[np.uint64]:
    heads: NDArray[np.uint64] = np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]
    return heads
