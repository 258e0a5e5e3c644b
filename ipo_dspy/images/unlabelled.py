"""Images without labels: files, all that lies in folders, and what tables list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from ipo_dspy.errors import DataError
from ipo_dspy.errors.arguments import checked
from ipo_dspy.images.decoding import HEIF_SUFFIXES, image_suffixes
from ipo_dspy.images.labeled import LeftOut
from ipo_dspy.images.readers.folder import files_below
from ipo_dspy.images.readers.table import TABLE_SUFFIXES, table_paths


@dataclass(frozen=True)
class FoundImages(Sequence[Path]):
    """Image files in the order they were found, each once, and the files that are no images."""

    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Path, ...]: ...
    def __getitem__(self, index: int | slice) -> Path | tuple[Path, ...]:
        return self.files[index]


@checked
def find_images(*sources: str | os.PathLike[str]) -> FoundImages:
    """Find images that need no labels; none of them is opened.

    Args:
        sources: folders, whose images count however deep they lie; tables with a column `path`;
            and image files. What is named itself or in a table counts as an image whatever its
            ending, and so does HEIC where it cannot be read, so that it is missed.

    Raises:
        DataError: a source is not there, or there are no images at all.
    """
    files: dict[Path, Path] = {}
    left_out: list[LeftOut] = []
    for source in map(Path, sources):
        for file in _files_of(source.expanduser(), left_out):
            files.setdefault(Path(os.path.abspath(file)), file)
    if not files:
        named = ", ".join(map(str, sources)) or "nothing"
        raise DataError(f"{named} holds no images; give image files, folders of them, or a table")
    return FoundImages(tuple(files.values()), tuple(left_out))


def _files_of(source: Path, left_out: list[LeftOut]) -> Iterable[Path]:
    if not os.path.lexists(source):
        raise DataError(f"there is no {source}; check the path")
    if os.path.isdir(source):
        return _images_below(source, left_out)
    return table_paths(source) if source.suffix.lower() in TABLE_SUFFIXES else (source,)


def _images_below(folder: Path, left_out: list[LeftOut]) -> list[Path]:
    suffixes = image_suffixes() | HEIF_SUFFIXES
    images = []
    for file in files_below(folder):
        suffix = file.suffix.lower()
        if suffix in suffixes:
            images.append(file)
        else:
            left_out.append(LeftOut(file, suffix or "without an ending"))
    return images
