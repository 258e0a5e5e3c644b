"""The images of a job in parts, for workers that may die over them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

BATCH = 64
"""Parts are multiples of this, so that a GPU gets the batches that it gets from one process."""
PARTS_OF_A_LOST_ONE = 8
"""Into how many parts one is divided whose workers die."""


@dataclass
class Part:
    """Some images of a job, and how many workers died over them."""

    numbers: range
    deaths: int = 0


class Parts:
    """The images of a job that nobody has embedded yet.

    Args:
        images: how many there are.
        size: most images of a part.
        retries: how often a part is tried again whose worker died.
        least: parts that were never tried have no fewer images.

    Attributes:
        left: how many images are not done.
    """

    def __init__(self, images: int, size: int, retries: int, least: int) -> None:
        self.left = images
        self._waiting = deque([Part(range(images))])
        self._most = self._size = size
        self._least = min(least, size)
        self._retries = retries

    def take(self, count: int) -> Iterator[Part]:
        """Take as many parts as that, if there are."""
        while count and self._waiting:
            part = self._waiting.popleft()
            rest = part.numbers[self._size :]
            if rest and not part.deaths:
                self._waiting.appendleft(Part(rest))
                part = Part(part.numbers[: self._size])
            yield part
            count -= 1

    def done(self, part: Part) -> None:
        """Take note of what is done; what follows may be larger again."""
        self.left -= len(part.numbers)
        self._size = min(self._most, max(self._size, 2 * len(part.numbers)))

    def lost(self, part: Part) -> bool:
        """Let a part be tried again whose worker died; tell whether it is an image that kills.

        Where its worker died as often as it may, it is divided, and so is what follows: perhaps
        workers do not live long enough for more.
        """
        part.deaths += 1
        if part.deaths <= self._retries:
            self._waiting.appendleft(part)
            return False
        count = len(part.numbers)
        if count == 1:
            self.left -= 1
            return True
        size = math.ceil(count / PARTS_OF_A_LOST_ONE)
        if count > BATCH:
            size = math.ceil(size / BATCH) * BATCH
        self._size = max(self._least, min(self._size, size))
        starts = range(0, count, size)
        self._waiting.extendleft(Part(part.numbers[s : s + size]) for s in reversed(starts))
        return False
