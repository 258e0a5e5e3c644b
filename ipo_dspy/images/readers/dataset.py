"""Dataset objects: Hugging Face `datasets`, torchvision, sequences of `dspy.Example`."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import dspy
from PIL import Image

from ipo_dspy.errors import DataError, UnreadableImage
from ipo_dspy.errors.arguments import checked
from ipo_dspy.images.decoding import one_error
from ipo_dspy.images.image import DatasetImage, ImageFile, open_image
from ipo_dspy.images.labeled import LabeledImages, labeled_image
from ipo_dspy.images.names import Names, checked_classnames, display_names

logger = logging.getLogger(__name__)

# Where torchvision's classes keep class names.
_CLASSNAME_ATTRIBUTES = ("classes", "categories")


@checked
def read_dataset(
    dataset: Any,
    *,
    image: str = "image",
    label: str = "label",
    names: Names | Sequence[str] | None = None,
    skip_bad_images: bool = False,
) -> LabeledImages:
    """Labelled images of a dataset object, in its order; images are decoded when used.

    Labels are those of the items themselves: texts, or whole numbers that count the class names.

    Args:
        dataset: a Hugging Face `datasets.Dataset`, a torchvision dataset made without a
            transform, or a sequence of `dspy.Example`.
        image: the column or field of images (not used for torchvision).
        label: the column or field of labels (not used for torchvision).
        names: all class names in order, also of classes without images, which text labels must
            be among and numbers count from 0; or display text by class (see `display_names`); by
            default those that the dataset itself declares.
        skip_bad_images: decode every image, and leave out those that cannot be read, with a
            warning that names them.

    Raises:
        DataError: the object is of another kind, is empty, does not say what its classes are
            called, or has labels of another kind.
        UnreadableImage: an item of a torchvision dataset cannot be read.
    """
    if isinstance(dataset, Mapping | dspy.Example):
        raise DataError(
            f"dataset is a {type(dataset).__name__}; give a datasets.Dataset, a torchvision "
            "dataset, or a list of dspy.Example(image=..., label=...)"
        )
    is_one_number = getattr(dataset, "ndim", 1) == 0
    if is_one_number or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(
            f"a {type(dataset).__name__} cannot be indexed; "
            "a streamed dataset must first be turned into a list or loaded in full"
        )
    if len(dataset) == 0:
        raise DataError("the dataset is empty; give one with labelled images")
    if isinstance(names, set | frozenset):
        raise DataError("names is a set, which has no order; give a list of the class names")
    if hasattr(dataset, "column_names"):
        found = _from_columns(dataset, image, label)
    elif isinstance(dataset[0], dspy.Example):
        found = _from_examples(dataset, image, label)
    else:
        found = _from_pairs(dataset, skip_bad_images)
    return _label(found, names, skip_bad_images)


@dataclass(frozen=True)
class _Found:
    """What a dataset says: an image and a label by item's number, and class names, if any."""

    images: Mapping[int, dspy.Image]
    labels: Mapping[int, Any]
    declared: Sequence[str] | None = None


def _from_columns(dataset: Any, image: str, label: str) -> _Found:
    for column in (image, label):
        if column not in dataset.column_names:
            found = ", ".join(repr(name) for name in dataset.column_names)
            raise DataError(f"the dataset has no column {column!r}; it has {found}")
    declared = getattr(dataset.features[label], "names", None)
    labels = dict(enumerate(dataset[label]))
    return _Found(_images(dataset, image, labels), labels, declared)


def _from_pairs(dataset: Any, skip_bad_images: bool) -> _Found:
    labels = {}
    for number in range(len(dataset)):
        try:
            with one_error(f"image {number} of the dataset"):
                item = dataset[number]
        except UnreadableImage as error:
            if not skip_bad_images:
                raise
            logger.warning("Left out: %s", error)
            continue
        if not isinstance(item, tuple) or len(item) != 2:
            raise DataError(
                f"the dataset gives {type(item).__name__} items; "
                "expected pairs of image and label, or dspy.Example"
            )
        labels[number] = item[1]
    declared = _first_attribute(dataset, _CLASSNAME_ATTRIBUTES)
    return _Found(_images(dataset, 0, labels), labels, declared)


def _from_examples(examples: Sequence[dspy.Example], image: str, label: str) -> _Found:
    for number, example in enumerate(examples):
        if not isinstance(example, dspy.Example):
            raise DataError(f"item {number} is a {type(example).__name__}, not a dspy.Example")
        if image not in example or label not in example:
            raise DataError(
                f"example {number} needs the fields {image!r} and {label!r}; "
                f"it has {', '.join(repr(field) for field in example)}"
            )
    return _Found(
        {number: _as_dspy_image(example[image]) for number, example in enumerate(examples)},
        {number: example[label] for number, example in enumerate(examples)},
    )


def _as_dspy_image(source: Any) -> dspy.Image:
    if isinstance(source, dspy.Image):
        return source
    if isinstance(source, Image.Image):
        return dspy.Image(source)
    return ImageFile(source)


def _images(dataset: Any, column: str | int, numbers: Iterable[int]) -> dict[int, dspy.Image]:
    token = uuid4().hex
    images = {number: DatasetImage(dataset, number, column, token) for number in numbers}
    for image in images.values():
        # One shows whether all are images, or made into something else.
        image.load()
        break
    return images


def _label(
    found: _Found, names: Names | Sequence[str] | None, skip_bad_images: bool
) -> LabeledImages:
    labels: dict[int, Any] = {n: _plain(n, label) for n, label in found.labels.items()}
    if not labels:
        raise DataError("no image of the dataset can be read; replace them")
    kinds = {type(label) for label in labels.values()}
    if len(kinds) > 1:
        raise DataError("some labels are texts and some are numbers; make all of one kind")
    declared = found.declared
    if names is not None and not isinstance(names, Mapping | str | os.PathLike):
        declared, names = list(names), {name: name for name in checked_classnames(names)}
    if kinds == {int}:
        if declared is None and names is not None:
            declared = [str(number) for number in sorted(set(labels.values()))]
            labels = {number: declared.index(str(label)) for number, label in labels.items()}
        if declared is None:
            raise DataError(
                "the labels are numbers; pass names=[...] with the class names in order"
            )
        labels = {number: _classname(declared, number, v) for number, v in labels.items()}
    display = display_names(declared or sorted(set(labels.values())), names)
    bad = _unreadable(found.images, labels) if skip_bad_images else set()
    examples = []
    for number, stored in labels.items():
        if stored not in display:
            raise DataError(
                f"image {number} has the label {stored!r}, which is none of the class names "
                f"{', '.join(map(repr, list(display)[:5]))}; spell both alike"
            )
        if number not in bad:
            examples.append(labeled_image(found.images[number], display[stored]))
    return LabeledImages(tuple(examples), tuple(display.values()))


def _plain(number: int, label: Any) -> str | int:
    """A label as text or number; numbers of numpy and torch, and whole floats, are numbers too."""
    if hasattr(label, "item") and not getattr(label, "shape", ()):
        label = label.item()
    if isinstance(label, float) and label.is_integer():
        label = int(label)
    if isinstance(label, str) and label.strip():
        return str(label)
    if isinstance(label, int):
        return int(label)
    raise DataError(
        f"image {number} has the label {label!r}; expected one class, by its name or its number"
    )


def _unreadable(images: Mapping[int, dspy.Image], numbers: Iterable[int]) -> set[int]:
    bad = set()
    for number in numbers:
        try:
            open_image(images[number])
        except UnreadableImage as error:
            logger.warning("Left out: %s", error)
            bad.add(number)
    return bad


def _classname(declared: Sequence[str], number: int, index: Any) -> str:
    if not 0 <= index < len(declared):
        raise DataError(
            f"image {number} has the label {index}, but there are {len(declared)} class names, "
            "numbered from 0; leave unlabelled images out, or pass all names"
        )
    return declared[index]


def _first_attribute(dataset: Any, attributes: Sequence[str]) -> Sequence[Any] | None:
    return next((getattr(dataset, a) for a in attributes if hasattr(dataset, a)), None)
