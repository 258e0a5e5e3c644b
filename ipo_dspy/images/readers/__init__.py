"""Readers of labelled images; all take `names` and `skip_bad_images`."""

from __future__ import annotations

import os
from pathlib import Path

from ipo_dspy.images.labeled import LabeledImages
from ipo_dspy.images.names import Names
from ipo_dspy.images.readers.folder import read_folder
from ipo_dspy.images.readers.table import TABLE_SUFFIXES, read_table

__all__ = ["TABLE_SUFFIXES", "read_images"]


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
