"""The image and the label in an example, whatever their fields are called."""

from __future__ import annotations

import os
from typing import Any

import dspy
from PIL import Image

from ipo_dspy.errors import ArgumentError
from ipo_dspy.images.image import ImageSource


def image_of(example: dspy.Example) -> ImageSource | None:
    """Find the image: the first field that is one, else what is called `image`, else None."""
    for value in example.values():
        if isinstance(value, dspy.Image | Image.Image | os.PathLike):
            return value
    found: ImageSource | None = example.get("image")
    return found


def required_image(example: dspy.Example) -> ImageSource:
    """Find the image; see `image_of`.

    Raises:
        ArgumentError: there is none.
    """
    found = image_of(example)
    if found is None:
        raise ArgumentError(
            f"An example has no image, only {', '.join(example.keys()) or 'no field at all'}; "
            "expected dspy.Example(image=..., label=...)."
        )
    return found


def label_of(example: dspy.Example, field: str) -> Any:
    """Find the label: what is called like the field that predicts it, else `label`, else None."""
    return example.get(field, example.get("label"))
