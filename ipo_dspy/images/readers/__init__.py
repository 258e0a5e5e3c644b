"""Readers of labelled images; all take `names` and `skip_bad_images`."""

from __future__ import annotations

import os
from pathlib import Path

from ipo_dspy.images.labeled import LabeledImages
from ipo_dspy.images.names import Names, display_names
from ipo_dspy.images.readers.folder import list_folder, read_folder
from ipo_dspy.images.readers.table import TABLE_SUFFIXES, list_table, read_table

__all__ = ["TABLE_SUFFIXES", "check_images", "read_images"]


def read_images(
    path: str | os.PathLike[str], *, names: Names | None = None, skip_bad_images: bool = False
) -> LabeledImages:
    """Read a folder of class folders, or a table of paths and labels by its ending.

    Args:
        path: see `read_folder` and `read_table`.
        names: see `read_folder`.
        skip_bad_images: see `read_folder`.

    Raises:
        DataError: the images cannot be used; the message says why.
    """
    read = read_table if Path(path).suffix.lower() in TABLE_SUFFIXES else read_folder
    return read(path, names=names, skip_bad_images=skip_bad_images)


def check_images(path: str | os.PathLike[str], *, names: Names | None = None) -> tuple[str, ...]:
    """Check the layout of a folder or table and its class names, decoding no image.

    Returns:
        The class names that `read_images` gives, where every class has an image that can be read.

    Raises:
        DataError: see `read_images`.
    """
    place = Path(path)
    if place.suffix.lower() in TABLE_SUFFIXES:
        files = list_table(place)
    else:
        files, _ = list_folder(place, names)
    return tuple(display_names(sorted({stored for _, stored in files}), names).values())
