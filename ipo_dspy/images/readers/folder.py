"""Images in class folders: `path/<class name>/*.jpg`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ipo_dspy.errors import DataError
from ipo_dspy.images.labeled import LabeledImages
from ipo_dspy.images.names import Names
from ipo_dspy.images.readers.files import label_files

IMAGE_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_SPLITS = frozenset({"train", "training", "test", "val", "valid", "validation"})
_ARCHIVE_LITTER = "__MACOSX"


def read_folder(
    path: str | os.PathLike[str],
    *,
    names: Names | None = None,
    skip_bad_images: bool = False,
) -> LabeledImages:
    """Read labelled images from class folders, in sorted order.

    A class is called by its folder with `_` read as a space. Hidden files and files that are no
    images by their suffix are passed over. Every image is decoded once to be sure of it.

    Args:
        path: the folder that holds one folder per class.
        names: display text by folder name, or a file of it (see `read_classnames`); a folder
            without an entry keeps its own name.
        skip_bad_images: leave out images that cannot be read, with a warning that names them.

    Raises:
        DataError: the folder is missing, empty, or not laid out in class folders; a class has
            no images or no name of its own; there is one class only.
        UnreadableImage: an image cannot be read and `skip_bad_images` is off.
    """
    files = [(file, folder.name) for folder in _class_folders(Path(path)) for file in _in(folder)]
    return label_files(files, names=names, skip_bad_images=skip_bad_images)


def _class_folders(root: Path) -> list[Path]:
    if not root.exists():
        raise DataError(f"there is no folder {root}; check the path")
    if not root.is_dir():
        raise DataError(f"{root} is a file; give the folder that holds one folder per class")
    entries = _visible(root)
    folders = [entry for entry in entries if entry.is_dir() and entry.name != _ARCHIVE_LITTER]
    if not folders:
        raise _no_class_folders(root, entries)
    if splits := [folder for folder in folders if _is_split(folder)]:
        raise DataError(
            f"{root} holds the splits {' and '.join(folder.name for folder in splits)}, "
            f"not classes; give one of them, such as {_to_search_on(splits)}"
        )
    return folders


def _to_search_on(splits: Sequence[Path]) -> Path:
    """Pick the split to name: training images, so that test images stay unseen."""
    return next((split for split in splits if split.name.lower().startswith("train")), splits[0])


def _no_class_folders(root: Path, entries: Sequence[Path]) -> DataError:
    if any(_is_image(entry) for entry in entries):
        return DataError(
            f"{root} holds images but no class folders; "
            f"sort them into one folder per class, such as {root / 'cat'} and {root / 'dog'}"
        )
    if entries:
        return DataError(f"{root} has no class folders; put one folder of images per class into it")
    return DataError(f"{root} is empty; put one folder of images per class into it")


def _is_split(folder: Path) -> bool:
    """Whether a folder named like a split holds class folders rather than images."""
    if folder.name.lower() not in _SPLITS:
        return False
    entries = _visible(folder)
    return any(entry.is_dir() for entry in entries) and not any(map(_is_image, entries))


def _in(folder: Path) -> list[Path]:
    """The images of one class folder."""
    entries = _visible(folder)
    if images := [entry for entry in entries if _is_image(entry)]:
        return images
    if any(entry.is_dir() for entry in entries):
        raise DataError(
            f"the class folder {folder} holds folders, not images; "
            "put its images directly into it, or give the folder one level down"
        )
    raise DataError(
        f"the class folder {folder} has no images ({', '.join(IMAGE_SUFFIXES)}); "
        "add some or remove it"
    )


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir()
