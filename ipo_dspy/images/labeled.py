"""Images with their class names, and the ways to divide them."""

from __future__ import annotations

import hashlib
import json
import math
import operator
import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import SupportsIndex, TypeVar, overload

import dspy

from ipo_dspy.errors import ArgumentError, DataError
from ipo_dspy.errors.arguments import Count, checked
from ipo_dspy.images.copies import byte_equal
from ipo_dspy.images.image import content_hash

_T = TypeVar("_T")
MOST_SHOWN = 10
"""Most classes that a notebook shows."""


@dataclass(frozen=True)
class LeftOut:
    """A file beside the images that is not among them, and why, such as `.txt` or `unreadable`."""

    path: Path
    reason: str


@checked
@dataclass(frozen=True)
class LabeledImages(Sequence[dspy.Example]):
    """Labelled images and the class names among which they are told apart.

    It is a sequence of its examples, as a `trainset` is.

    Attributes:
        examples: each with `image` (a `dspy.Image`, the input) and `label` (one of `classnames`).
        classnames: display text of every class, in label order; also of classes without images.
        left_out: files that were found beside the images and not taken.
    """

    examples: tuple[dspy.Example, ...]
    classnames: tuple[str, ...]
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False, repr=False)

    def __len__(self) -> int:
        return len(self.examples)

    @overload
    def __getitem__(self, index: int) -> dspy.Example: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[dspy.Example, ...]: ...
    def __getitem__(self, index: int | slice) -> dspy.Example | tuple[dspy.Example, ...]:
        return self.examples[index]

    def __repr__(self) -> str:
        return f"LabeledImages({len(self):,} images of {len(self.classnames):,} classes)"

    def _repr_html_(self) -> str:
        """One image of each of the first classes, for notebooks."""
        from ipo_dspy.images.shown import cell, picture, table

        counts = Counter(example.label for example in self.examples)
        first: dict[str, dspy.Example] = {}
        for example in self.examples:
            first.setdefault(example.label, example)
        shown = self.classnames[:MOST_SHOWN]
        rows = [
            (picture(first[name].image) if name in first else "", cell(name), f"{counts[name]:,}")
            for name in shown
        ]
        rest = len(self.classnames) - len(shown)
        return table(
            f"{self!r}{f', {rest:,} of them not shown' if rest else ''}",
            ("", "class", "images"),
            rows,
        )

    def __deepcopy__(self, memo: object) -> LabeledImages:
        # Optimizers copy programs many times, and a program may hold its images.
        return self

    def few_shot(self, shots: Count, seed: SupportsIndex | random.Random) -> LabeledImages:
        """`shots` images of every class, as `sample_per_class` draws them.

        Args:
            shots: images per class, at least 1.
            seed: seed of the sample, or a generator to go on with.

        Raises:
            ArgumentError: `shots` is below 1.
        """
        chosen = sample_per_class(self.examples, lambda example: example.label, shots, seed)
        return LabeledImages(tuple(chosen), self.classnames)

    def base_and_novel(self) -> tuple[LabeledImages, LabeledImages]:
        """The first half of the classes, rounded up, and the rest, each with its images.

        Raises:
            DataError: there are fewer than two classes.
        """
        if len(self.classnames) < 2:
            raise DataError("base and novel halves need at least two classes; there is one")
        middle = math.ceil(len(self.classnames) / 2)
        return self.only(self.classnames[:middle]), self.only(self.classnames[middle:])

    def only(self, classnames: Iterable[str]) -> LabeledImages:
        """The images of these classes, told apart among these classes alone.

        Raises:
            ArgumentError: there is no class of a name.
        """
        kept = tuple(classnames)
        wanted = frozenset(kept)
        for name in kept:
            if name not in self.classnames:
                near = get_close_matches(name, self.classnames, n=1)
                raise ArgumentError(
                    f"classnames has {name!r}, which is none of the {len(self.classnames)} classes"
                    f"{f'; did you mean {near[0]!r}?' if near else '.'}"
                )
        return LabeledImages(tuple(e for e in self.examples if e.label in wanted), kept)

    def without_copies(self) -> LabeledImages:
        """Leave out images that equal an earlier one of their class byte for byte."""
        copies = {
            index
            for group in byte_equal(self.examples)
            for place, index in enumerate(group)
            if any(self.examples[i].label == self.examples[index].label for i in group[:place])
        }
        kept = tuple(e for i, e in enumerate(self.examples) if i not in copies)
        return LabeledImages(kept, self.classnames, self.left_out)

    def split(self, fraction: float, seed: SupportsIndex) -> tuple[LabeledImages, LabeledImages]:
        """Hold out a part of every class: (kept, held out), both in the order of these images.

        Every class keeps at least one image and gives at least one; a class with a single image
        keeps it, so the held-out part may lack classes, or be empty. Images that are equal byte for
        byte stay on one side, where they count as one, in the class of the first.

        Args:
            fraction: share of every class to hold out, between 0 and 1.
            seed: seed of the draw.

        Raises:
            ArgumentError: `fraction` is not between 0 and 1.
        """
        if not 0 < fraction < 1:
            raise ArgumentError(f"fraction must lie between 0 and 1, not {fraction}")
        generator = generator_of(seed)
        copies = {group[0]: group for group in byte_equal(self.examples)}
        later = {index for group in copies.values() for index in group[1:]}
        held_out: set[int] = set()
        firsts = [index for index in range(len(self.examples)) if index not in later]
        for group in _groups(firsts, lambda index: self.examples[index].label):
            count = min(max(1, round(fraction * len(group))), len(group) - 1)
            for index in generator.sample(group, count):
                held_out.update(copies.get(index, [index]))
        kept = (e for i, e in enumerate(self.examples) if i not in held_out)
        given = (e for i, e in enumerate(self.examples) if i in held_out)
        return (
            LabeledImages(tuple(kept), self.classnames),
            LabeledImages(tuple(given), self.classnames),
        )

    def fingerprint(self) -> str:
        """A hash of class names, labels and image content, in order; independent of paths.

        Raises:
            UnreadableImage: a file is missing.
        """
        digest = hashlib.blake2b(json.dumps(self.classnames).encode(), digest_size=32)
        with ThreadPoolExecutor() as pool:
            hashes = pool.map(content_hash, (example.image for example in self.examples))
            for example, image_hash in zip(self.examples, hashes, strict=True):
                digest.update(json.dumps([image_hash, example.label]).encode())
        return digest.hexdigest()


def labeled_image(image: dspy.Image, label: str) -> dspy.Example:
    """One labelled image: `image` is the input, `label` the class name to be found."""
    return dspy.Example(image=image, label=label).with_inputs("image")


def sample_per_class(
    items: Iterable[_T],
    label: Callable[[_T], Hashable],
    shots: int,
    seed: SupportsIndex | random.Random,
) -> list[_T]:
    """`shots` items of every class, all of a class that has fewer.

    The published samples of CoOp and its successors come out: classes in order of first
    appearance, one `random.sample` each.

    Args:
        items: what to draw from, in the order of the published list.
        label: the class of an item.
        shots: items per class, at least 1.
        seed: seed of the sample, or a generator to go on with.

    Raises:
        ArgumentError: `shots` is below 1.
    """
    if shots < 1:
        raise ArgumentError(f"shots must be at least 1, not {shots}")
    generator = seed if isinstance(seed, random.Random) else generator_of(seed)
    chosen: list[_T] = []
    for group in _groups(items, label):
        chosen += generator.sample(group, shots) if len(group) >= shots else group
    return chosen


def generator_of(seed: SupportsIndex) -> random.Random:
    """Make a generator of random numbers; the seed may be a whole number of any size and library.

    Raises:
        ArgumentError: the seed is no whole number.
    """
    try:
        return random.Random(operator.index(seed))
    except TypeError as error:
        raise ArgumentError(f"seed={seed!r} is no whole number; give one such as 0.") from error


def _groups(items: Iterable[_T], label: Callable[[_T], Hashable]) -> list[list[_T]]:
    groups: dict[Hashable, list[_T]] = {}
    for item in items:
        groups.setdefault(label(item), []).append(item)
    return list(groups.values())
