"""Which images train, validate and test, as a benchmark's own lists say."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ipo_dspy.errors import DataError
from ipo_dspy.images.names import with_twins

Entry: TypeAlias = tuple[str, int]
"""An image's path below the image folder, and the number of its class."""

_SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ImageLists:
    """The three lists of a benchmark, in their published order.

    Attributes:
        classnames: what the classes are called, by number; no two alike.
        train: images to draw few shots from.
        val: images to choose settings on; may be empty.
        test: images to report on.
    """

    classnames: tuple[str, ...]
    train: tuple[Entry, ...]
    val: tuple[Entry, ...]
    test: tuple[Entry, ...]


class Lists(Protocol):
    """How a benchmark writes down its lists."""

    def read(self, folder: Path) -> ImageLists:
        """Read them from the benchmark's folder.

        Raises:
            DataError: a list is missing or damaged.
        """


@dataclass(frozen=True)
class SplitFile:
    """A `split_zhou_*.json` of CoOp: `train`, `val` and `test`, each of [path, label, name].

    Classes are the labels of the training list, in order.
    """

    name: str

    def read(self, folder: Path) -> ImageLists:
        """Read the file from the benchmark's folder."""
        file = folder / self.name
        rows = _rows(file)
        names = {label: name for _, label, name in rows["train"]}
        for split in _SPLITS:
            for path, label, name in rows[split]:
                if names.get(label) != name:
                    raise DataError(
                        f"{file} calls the class {label} of {path} {name!r}, which in its training "
                        f"list is {names.get(label)!r}; fetch the file again"
                    )
        numbers = {label: number for number, label in enumerate(sorted(names))}
        train, val, test = (
            tuple((path, numbers[label]) for path, label, _ in rows[split]) for split in _SPLITS
        )
        return ImageLists(unique_names(names[label] for label in numbers), train, val, test)


@dataclass(frozen=True)
class VariantLists:
    """The lists of FGVC-Aircraft: lines of an image and its variant, variants in label order."""

    def read(self, folder: Path) -> ImageLists:
        """Read `variants.txt` and `images_variant_*.txt` from the benchmark's folder."""
        variants = [line for line in read_lines(folder / "variants.txt") if line]
        numbers = {variant: number for number, variant in enumerate(variants)}
        train, val, test = (_variant_entries(folder, split, numbers) for split in _SPLITS)
        return ImageLists(unique_names(variants), train, val, test)


def unique_names(names: Iterable[str]) -> tuple[str, ...]:
    """Class names as they are shown, with `_` read as a space, and no two alike.

    A name that came before gets a `_` behind it. Templates read that as a space, so the encoder
    sees the same text for both, and the two classes stay two, as publications count them; they are
    marked as twins, which other class names may not be.
    """
    shown: dict[str, None] = {}
    for name in names:
        text = name.replace("_", " ").strip()
        while text in shown:
            text += "_"
        shown[text] = None
    return with_twins(shown)


def missing_images(image_folder: Path, lists: ImageLists) -> list[str]:
    """The listed images that are not on disk, in the order of the lists.

    Folders are listed once each; no image is opened.
    """
    present: dict[str, set[str]] = {}
    missing = []
    for path, _ in (*lists.train, *lists.val, *lists.test):
        parent, name = os.path.split(path)
        if parent not in present:
            present[parent] = names_in(image_folder / parent)
        if name not in present[parent]:
            missing.append(path)
    return missing


def names_in(folder: Path) -> set[str]:
    """The names of what lies in a folder; none where it is missing or closed to us."""
    try:
        return set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return set()


def read_lines(file: Path) -> list[str]:
    """The lines of a text file, stripped.

    Raises:
        DataError: it cannot be read.
    """
    return [line.strip() for line in _text(file).splitlines()]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise DataError(f"there is no file {file}; put it there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read ({error}); fetch it again") from error


def _rows(file: Path) -> dict[str, list[tuple[str, int, str]]]:
    text = _text(file)
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is not valid JSON ({error}); fetch it again") from error
    if not isinstance(content, dict) or not all(
        isinstance(content.get(split), list) for split in _SPLITS
    ):
        raise DataError(f"{file} is no split file: it needs the lists train, val and test")
    rows = {
        split: [_row(file, split, number, row) for number, row in enumerate(content[split])]
        for split in _SPLITS
    }
    if not rows["train"] or not rows["test"]:
        raise DataError(f"{file} lists no images to train or to test on; fetch it again")
    return rows


def _row(file: Path, split: str, number: int, row: Any) -> tuple[str, int, str]:
    match row:
        case [str(path), int(label), str(name)] if path and name.strip():
            return path, label, name
        case _:
            raise DataError(
                f"item {number} of {split!r} in {file} is {json.dumps(row)[:80]}; "
                "expected [path, label, class name]"
            )


def _variant_entries(folder: Path, split: str, numbers: dict[str, int]) -> tuple[Entry, ...]:
    file = folder / f"images_variant_{split}.txt"
    entries = []
    for line in filter(None, read_lines(file)):
        image, _, variant = line.partition(" ")
        if variant not in numbers:
            raise DataError(
                f"{file} has the line {line!r}, whose variant is not in variants.txt; "
                "unpack the archive again"
            )
        entries.append((f"{image}.jpg", numbers[variant]))
    return tuple(entries)


def class_entries(folders: Sequence[str], image_folder: Path, below: str = "") -> tuple[Entry, ...]:
    """The images of class folders, in order of folder and name; folder `i` holds class `i`.

    Args:
        folders: the class folders, in label order.
        image_folder: where the entries' paths start.
        below: the folder below `image_folder` that holds the class folders.
    """
    return tuple(
        (os.path.join(below, folder, name), label)
        for label, folder in enumerate(folders)
        for name in sorted(names_in(image_folder / below / folder))
        if not name.startswith(".")
    )
