"""The image and the label in an example, whatever their fields are called."""

from __future__ import annotations

import os
from typing import Any

import dspy
from PIL import Image

from ipo_dspy.images.image import ImageSource


def image_of(example: dspy.Example) -> ImageSource | None:
    """Find the image: the first field that is one, else what is called `image`, else None."""
    for value in example.values():
        if isinstance(value, dspy.Image | Image.Image | os.PathLike):
            return value
    found: ImageSource | None = example.get("image")
    return found


def label_of(example: dspy.Example, field: str) -> Any:
    """Find the label: what is called like the field that predicts it, else `label`, else None."""
    return example.get(field, example.get("label"))
