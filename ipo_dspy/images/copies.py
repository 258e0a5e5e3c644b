"""Images that are the same, byte for byte."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy

from ipo_dspy.errors import UnreadableImage
from ipo_dspy.images.image import ImageFile, content_hash


def byte_equal(examples: Sequence[dspy.Example]) -> list[list[int]]:
    """Group the examples whose images are equal: the positions of two or more, in order.

    Files are read only where others have the same size; an image that cannot be read is like none.
    """
    groups: list[list[int]] = []
    for alike in _grouped(range(len(examples)), [_size(e.image) for e in examples]):
        with ThreadPoolExecutor() as pool:
            hashes = list(pool.map(lambda i: _content(examples[i].image), alike))
        groups += _grouped(alike, hashes)
    return sorted(groups)


def _grouped(indices: Iterable[int], keys: Sequence[Hashable]) -> list[list[int]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for index, key in zip(indices, keys, strict=True):
        if key is not None:
            groups[key].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _size(image: Any) -> int | None:
    """The size of a file in bytes; -1 for what is no file, None for a file that is not there."""
    if not isinstance(image, ImageFile):
        return -1
    try:
        return image.path.stat().st_size
    except (OSError, ValueError):
        return None


def _content(image: Any) -> str | None:
    try:
        return content_hash(image)
    except UnreadableImage:
        return None
