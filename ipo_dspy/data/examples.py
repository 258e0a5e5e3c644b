"""The image in an example, whatever its field is called."""

from __future__ import annotations

import os

import dspy
from PIL import Image

from ipo_dspy.data.images import ImageSource


def image_of(example: dspy.Example) -> ImageSource | None:
    """Find the image: the first field that is one, else what is called `image`, else None."""
    for value in example.values():
        if isinstance(value, dspy.Image | Image.Image | os.PathLike):
            return value
    found: ImageSource | None = example.get("image")
    return found
