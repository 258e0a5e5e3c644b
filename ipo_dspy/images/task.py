"""What a search works on: images to search on, unseen ones to test on, a template to begin with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from ipo_dspy.errors import ArgumentError, DataError
from ipo_dspy.images.copies import byte_equal
from ipo_dspy.images.labeled import LabeledImages, LeftOut
from ipo_dspy.images.names import Names
from ipo_dspy.images.readers import TABLE_SUFFIXES, read_images

MOST_SHOTS = 16
"""Images of each class to search on, where there are as many; the largest number of the field."""
_LEAST_CLASSES_WITH_NOVEL = 4
_MOST_IMAGES = 10**9
_CLASSES_NAMED = 5


@dataclass(frozen=True)
class Task:
    """One seed of a classification task.

    The optimizer is given `train` and nothing else. Every test set is told apart among its own
    classes.

    Attributes:
        name: of the data.
        train: few labelled images to search on.
        tests: unseen images, by the name of their part, such as `base` and `novel`.
        template: the text of the template that the search begins with.
        seed: of the draw of the images.
        remarks: sentences that a reader of the figures should know.
        left_out: files that were found beside the images and not taken.
        copies: how many images were left out for equalling another one.
    """

    name: str
    train: LabeledImages
    tests: Mapping[str, LabeledImages]
    template: str
    seed: int = 0
    remarks: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    copies: int = 0

    @property
    def unseen_classes(self) -> tuple[str, ...]:
        """The names of the classes that are tested and not searched on."""
        names = [name for images in self.tests.values() for name in images.classnames]
        return tuple(dict.fromkeys(name for name in names if name not in self.train.classnames))


MakeTask: TypeAlias = Callable[[int], Task]
"""From a seed to a task."""


@dataclass(frozen=True)
class Sampling:
    """Which images a search sees, and which are kept for the final figures.

    Attributes:
        shots: images of each class to search on; None takes up to 16.
        hold_out: share of each class that is kept for the final figures, 0 to below 1.
        novel: search on the first half of the classes (base) and test on both halves.
        seed: of the draws.

    Raises:
        ArgumentError: `shots` is below 1, or `hold_out` not a share.
    """

    shots: int | None = None
    hold_out: float = 0.3
    novel: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.shots is not None and not 1 <= self.shots <= _MOST_IMAGES:
            raise ArgumentError(
                f"shots={self.shots} is none; expected 1 to {_MOST_IMAGES:,} images of each class."
            )
        if not 0 <= self.hold_out < 1:
            raise ArgumentError(
                f"hold_out={self.hold_out} is no share; expected at least 0 and below 1."
            )


def check_division(sampling: Sampling, classnames: Sequence[str], test: Path | None = None) -> None:
    """Check what can be checked of a division before an image is read.

    Raises:
        ArgumentError: a share to hold out is given beside `test`.
        DataError: there are too few classes to be halved.
    """
    if test is not None:
        _refuse_share(sampling)
    if sampling.novel and len(classnames) < _LEAST_CLASSES_WITH_NOVEL:
        raise DataError(
            f"novel=True needs at least {_LEAST_CLASSES_WITH_NOVEL} classes, two for each half; "
            f"there are {len(classnames)}"
        )


def folder_task(
    path: Path,
    template: str,
    sampling: Sampling = Sampling(),
    *,
    names: Names | None = None,
    skip_bad_images: bool = False,
    test: Path | None = None,
) -> Task:
    """Divide a person's own images, a folder of class folders or a table.

    Args:
        path: the folder or table.
        template: where the search begins.
        sampling: how the images are divided.
        names: see `read_folder`.
        skip_bad_images: see `read_folder`.
        test: unseen images, a folder or table of their own; nothing is then held out of the others.
            Classes that all are among the others are told apart among these.

    Raises:
        ArgumentError: a share to hold out is given beside `test`.
        DataError: the images cannot be used, or are too few to be divided as asked.
    """
    if test is not None:
        _refuse_share(sampling)
        sampling = replace(sampling, hold_out=0)
    found = read_images(path, names=names, skip_bad_images=skip_bad_images)
    images = found.without_copies()
    searched, novel = images, None
    if sampling.novel:
        check_division(sampling, images.classnames)
        searched, novel = images.base_and_novel()
    kept, held_out = _hold_out(searched, sampling)
    if test is None:
        tests = {} if novel is None else {"novel": novel}
        if held_out.examples:
            tests = {"held-out images" if novel is None else "base": held_out} | tests
        remarks, left_out = _remarks(kept, held_out, sampling), found.left_out
    else:
        given = read_images(test, names=names, skip_bad_images=skip_bad_images)
        halves = None if novel is None else {"base": searched, "novel": novel}
        tests, remarks = _own_tests(test, images, given, halves)
        left_out = (*found.left_out, *given.left_out)
    return Task(
        task_name(path),
        kept.few_shot(sampling.shots or MOST_SHOTS, sampling.seed),
        tests,
        template,
        sampling.seed,
        (*_copies(len(found) - len(images)), *remarks),
        left_out,
        len(found) - len(images),
    )


def _refuse_share(sampling: Sampling) -> None:
    if sampling.hold_out not in (0, Sampling.hold_out):
        raise ArgumentError(
            f"hold_out={sampling.hold_out} has no effect beside test=, which gives the unseen "
            "images; give one of them."
        )


def _own_tests(
    place: Path,
    images: LabeledImages,
    given: LabeledImages,
    halves: Mapping[str, LabeledImages] | None,
) -> tuple[dict[str, LabeledImages], tuple[str, ...]]:
    """Unseen images that a person gave, by part, and what to say of them.

    Raises:
        DataError: none is left that is not searched on too, or a half of the classes has none.
    """
    unseen = _without(given, images)
    if not unseen.examples:
        raise DataError(f"all images of {place} are among those searched on; give unseen ones")
    copies = len(given) - len(unseen)
    remarks = [f"{copies} of {len(given)} images of {place} are left out as copies."] * bool(copies)
    strange = [name for name in unseen.classnames if name not in images.classnames]
    if halves is None:
        if strange:
            remarks.append(f"Classes of {place} alone: {_listed(strange)}.")
        names = unseen.classnames if strange else images.classnames
        return {"test images": LabeledImages(unseen.examples, names)}, tuple(remarks)
    if strange:
        raise DataError(
            f"novel=True divides the classes there are, and {place} has others: {_listed(strange)}"
        )
    among = LabeledImages(unseen.examples, images.classnames)
    tests = {part: among.only(half.classnames) for part, half in halves.items()}
    for part, half in tests.items():
        if not half.examples:
            raise DataError(
                f"{place} has no images of the {part} classes, of which novel=True asks"
            )
    return tests, tuple(remarks)


def _without(images: LabeledImages, others: LabeledImages) -> LabeledImages:
    """Leave out images that equal one of the others, or an earlier one, byte for byte."""
    first = len(others.examples)
    copies = {
        index
        for group in byte_equal([*others.examples, *images.examples])
        for index in group[1:]
        if index >= first
    }
    kept = tuple(e for i, e in enumerate(images.examples, start=first) if i not in copies)
    return LabeledImages(kept, images.classnames)


def _listed(names: Sequence[str]) -> str:
    some = ", ".join(names[:_CLASSES_NAMED])
    return f"{some} and {len(names) - _CLASSES_NAMED} more" if names[_CLASSES_NAMED:] else some


def task_name(path: Path | None) -> str:
    """Name a task after its folder or table."""
    if path is None:
        return "demo"
    full = Path(os.path.abspath(path))
    return full.stem if full.suffix.lower() in TABLE_SUFFIXES else full.name


def _hold_out(images: LabeledImages, sampling: Sampling) -> tuple[LabeledImages, LabeledImages]:
    if sampling.hold_out == 0:
        return images, LabeledImages((), images.classnames)
    return images.split(sampling.hold_out, sampling.seed)


def _copies(count: int) -> tuple[str, ...]:
    if count == 0:
        return ()
    one = "1 image is a copy of another and is left out."
    return (one if count == 1 else f"{count} images are copies of others and are left out.",)


def _remarks(kept: LabeledImages, held_out: LabeledImages, sampling: Sampling) -> tuple[str, ...]:
    if sampling.hold_out == 0:
        return ("No images are held out, so the figures are those of the search itself.",)
    held = {example.label for example in held_out.examples}
    lacking = [name for name in kept.classnames if name not in held]
    if not lacking:
        return ()
    one = "has" if len(lacking) == 1 else "have"
    return (f"{_listed(lacking)} {one} one image only, which the search needs; none is held out.",)
