"""Dataset objects: Hugging Face `datasets`, torchvision, sequences of `dspy.Example`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import dspy
from PIL import Image

from ipo_dspy.errors import DataError
from ipo_dspy.images.image import DatasetImage, ImageFile
from ipo_dspy.images.labeled import LabeledImages, labeled_image
from ipo_dspy.images.names import Names, display_names

# Where torchvision's classes keep labels and class names, so that no image need be decoded.
_LABEL_ATTRIBUTES = ("targets", "_labels", "y")
_CLASSNAME_ATTRIBUTES = ("classes", "categories")


def read_dataset(
    dataset: Any,
    *,
    image: str = "image",
    label: str = "label",
    names: Names | Sequence[str] | None = None,
) -> LabeledImages:
    """Labelled images of a dataset object, in its order; images are decoded when used.

    Args:
        dataset: a Hugging Face `datasets.Dataset`, a torchvision dataset made without a
            transform, or a sequence of `dspy.Example`.
        image: the column or field of images (not used for torchvision).
        label: the column or field of labels (not used for torchvision).
        names: class names in label order where labels are numbers, or display text by class
            (see `display_names`); by default those that the dataset itself declares.

    Raises:
        DataError: the object is of another kind, is empty, or does not say what its classes
            are called.
    """
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(
            f"a {type(dataset).__name__} cannot be indexed; "
            "a streamed dataset must first be turned into a list or loaded in full"
        )
    if len(dataset) == 0:
        raise DataError("the dataset is empty; give one with labelled images")
    if hasattr(dataset, "column_names"):
        return _from_columns(dataset, image, label, names)
    if isinstance(dataset[0], dspy.Example):
        return _from_examples(dataset, image, label, names)
    return _from_pairs(dataset, names)


def _from_columns(
    dataset: Any, image: str, label: str, names: Names | Sequence[str] | None
) -> LabeledImages:
    for column in (image, label):
        if column not in dataset.column_names:
            found = ", ".join(repr(name) for name in dataset.column_names)
            raise DataError(f"the dataset has no column {column!r}; it has {found}")
    declared = getattr(dataset.features[label], "names", None)
    return _label(_images(dataset, image), list(dataset[label]), declared, names)


def _from_pairs(dataset: Any, names: Names | Sequence[str] | None) -> LabeledImages:
    first = dataset[0]
    if not isinstance(first, tuple) or len(first) != 2:
        raise DataError(
            f"the dataset gives {type(first).__name__} items; "
            "expected pairs of image and label, or dspy.Example"
        )
    labels = _first_attribute(dataset, _LABEL_ATTRIBUTES)
    if labels is None or len(labels) != len(dataset):
        labels = [dataset[index][1] for index in range(len(dataset))]
    declared = _first_attribute(dataset, _CLASSNAME_ATTRIBUTES)
    return _label(_images(dataset, 0), list(labels), declared, names)


def _from_examples(
    examples: Sequence[dspy.Example],
    image: str,
    label: str,
    names: Names | Sequence[str] | None,
) -> LabeledImages:
    for number, example in enumerate(examples):
        if image not in example or label not in example:
            raise DataError(
                f"example {number} needs the fields {image!r} and {label!r}; "
                f"it has {', '.join(repr(field) for field in example)}"
            )
    images = [_as_dspy_image(example[image]) for example in examples]
    return _label(images, [example[label] for example in examples], None, names)


def _as_dspy_image(source: Any) -> dspy.Image:
    if isinstance(source, dspy.Image):
        return source
    if isinstance(source, Image.Image):
        return dspy.Image(source)
    return ImageFile(source)


def _images(dataset: Any, column: str | int) -> list[DatasetImage]:
    token = uuid4().hex
    images = [DatasetImage(dataset, index, column, token) for index in range(len(dataset))]
    images[0].load()
    return images


def _label(
    images: Sequence[dspy.Image],
    labels: Sequence[Any],
    declared: Sequence[str] | None,
    names: Names | Sequence[str] | None,
) -> LabeledImages:
    if isinstance(names, Sequence) and not isinstance(names, str):
        declared, names = names, {name: name for name in names}
    if isinstance(labels[0], str):
        display = display_names(sorted(set(labels)), names)
    elif declared is None:
        raise DataError("the labels are numbers; pass names=[...] with the class names in order")
    else:
        display = display_names(declared, names)
        labels = [_classname(declared, number, value) for number, value in enumerate(labels)]
    pairs = zip(images, labels, strict=True)
    examples = (labeled_image(picture, display[stored]) for picture, stored in pairs)
    return LabeledImages(tuple(examples), tuple(display.values()))


def _classname(declared: Sequence[str], number: int, value: Any) -> str:
    index = int(value)
    if not 0 <= index < len(declared):
        raise DataError(
            f"image {number} has the label {index}, but there are {len(declared)} class names, "
            "numbered from 0; leave unlabelled images out, or pass all names"
        )
    return declared[index]


def _first_attribute(dataset: Any, attributes: Sequence[str]) -> Sequence[Any] | None:
    return next((getattr(dataset, a) for a in attributes if hasattr(dataset, a)), None)
