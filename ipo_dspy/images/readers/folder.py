"""Images in class folders: `path/<class name>/*.jpg`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ipo_dspy.errors import DataError
from ipo_dspy.errors.arguments import checked
from ipo_dspy.images.decoding import image_suffixes
from ipo_dspy.images.labeled import LabeledImages, LeftOut
from ipo_dspy.images.names import Names, read_classnames
from ipo_dspy.images.readers.files import label_files

_SPLIT = re.compile(
    r"(?:images?[ _-]?)?(?:train|training|test|testing|val|valid|validation|dev|eval|holdout)"
    r"(?:[ _-]?(?:images?|imgs?|set|split|data|pics|photos|jpe?g|png|\d+))*"
)
_LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
"""What systems leave behind, beside names that begin with a dot."""


@checked
def read_folder(
    path: str | os.PathLike[str],
    *,
    names: Names | None = None,
    skip_bad_images: bool = False,
) -> LabeledImages:
    """Read labelled images from class folders, in sorted order.

    A class is called by its folder with `_` read as a space; images in folders below a class
    folder are of that class. Hidden files are passed over; whatever else is left out, such as files
    that are no images by their suffix, is counted and named in a warning. Every image is decoded
    once to be sure of it.

    Args:
        path: the folder that holds one folder per class.
        names: display text by folder name, or a file of it (see `read_classnames`); a folder
            without an entry in a mapping keeps its own name.
        skip_bad_images: leave out images that cannot be read, with a warning that names them.

    Raises:
        DataError: the folder is missing, empty, or not laid out in class folders; a class has
            no images or no name of its own; there is one class only.
        UnreadableImage: an image cannot be read and `skip_bad_images` is off.
    """
    files, left_out = list_folder(Path(path), names)
    return label_files(files, names=names, skip_bad_images=skip_bad_images, left_out=left_out)


def list_folder(path: Path, names: Names | None) -> tuple[list[tuple[Path, str]], list[LeftOut]]:
    """List image files with their classes, and what is left out, without decoding any.

    Raises:
        DataError: see `read_folder`.
    """
    root = path.expanduser()
    folders, beside = _class_folders(root, names)
    found = {folder: list(files_below(folder)) for folder in folders}
    _check_depth(root, found)
    files, left_out = [], [LeftOut(file, _why_not(file) or "beside the folders") for file in beside]
    for folder, inside in found.items():
        images = [file for file in inside if _is_image(file)]
        if not images:
            raise DataError(
                f"the class folder {folder} has no images (such as .jpg or .png); "
                "add some or remove it"
            )
        files += [(file, folder.name) for file in images]
        left_out += [LeftOut(file, why) for file in inside if (why := _why_not(file))]
    return files, left_out


def _class_folders(root: Path, names: Names | None) -> tuple[list[Path], list[Path]]:
    """The class folders, and files beside them."""
    if not os.path.exists(root):
        raise DataError(f"there is no folder {root}; check the path")
    if not os.path.isdir(root):
        raise DataError(
            f"{root} is a file; give the folder that holds one folder per class, or a table that "
            "ends in .csv, .tsv or .jsonl"
        )
    entries = _visible(root)
    folders = [entry for entry in entries if os.path.isdir(entry)]
    if not folders:
        raise _no_class_folders(root, entries)
    splits = [entry for entry in folders if _SPLIT.fullmatch(entry.name.lower())]
    if splits and not _are_named(splits, names):
        _refuse_splits(root, folders, splits)
    return folders, [entry for entry in entries if entry not in folders]


def _are_named(folders: Sequence[Path], names: Names | None) -> bool:
    given = names if isinstance(names, Mapping) else read_classnames(names) if names else {}
    return all(folder.name in given for folder in folders)


def _refuse_splits(root: Path, folders: Sequence[Path], splits: Sequence[Path]) -> None:
    """Refuse `train` and `test` in the place of classes; one of many classes may be a train."""
    layered = [split for split in splits if _holds_folders_only(split)]
    if layered:
        raise DataError(
            f"{root} holds the splits {' and '.join(folder.name for folder in layered)}, "
            f"not classes; give one of them, such as {_to_search_on(layered)}"
        )
    if len(splits) > 1 and len(splits) == len(folders):
        raise DataError(
            f"{root} holds the splits {' and '.join(folder.name for folder in splits)} with images "
            f"directly in them, not classes; sort those of {_to_search_on(splits)} into one folder "
            "per class, or list them with their classes in a table (see read_table). If these are "
            "the classes, say so with names={...} or --class-names"
        )


def _to_search_on(splits: Sequence[Path]) -> Path:
    """Pick the split to name: training images, so that test images stay unseen."""
    return next((split for split in splits if "train" in split.name.lower()), splits[0])


def _no_class_folders(root: Path, entries: Sequence[Path]) -> DataError:
    if any(_is_image(entry) for entry in entries):
        return DataError(
            f"{root} holds images but no class folders; "
            f"sort them into one folder per class, such as {root / 'cat'} and {root / 'dog'}"
        )
    if entries:
        return DataError(f"{root} has no class folders; put one folder of images per class into it")
    return DataError(f"{root} is empty; put one folder of images per class into it")


def _holds_folders_only(folder: Path) -> bool:
    entries = _visible(folder)
    return any(os.path.isdir(entry) for entry in entries) and not any(map(_is_image, entries))


def _check_depth(root: Path, found: Mapping[Path, Sequence[Path]]) -> None:
    """Refuse folders of folders where it is not clear which of them are the classes."""
    if any(file.parent == folder and _is_image(file) for folder in found for file in found[folder]):
        return
    inner = {
        folder: {file.relative_to(folder).parts[0] for file in files if _is_image(file)}
        for folder, files in found.items()
    }
    deep = next((folder for folder, names in inner.items() if len(names) > 1), None)
    if deep is not None or (len(found) == 1 and any(inner.values())):
        folder = deep or next(iter(found))
        inside = ", ".join(sorted(inner[folder])[:3])
        raise DataError(
            f"the class folder {folder} holds folders, not images: {inside}; if those are the "
            f"classes, give {folder} or move them all into {root}, else put the images of "
            "each class directly into its folder"
        )


def files_below(folder: Path, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[Path]:
    """The files in and below a folder, sorted; links that lead back are not followed."""
    status = folder.stat()
    here = above | {(status.st_dev, status.st_ino)}
    if len(here) == len(above):
        return
    for entry in _visible(folder):
        if os.path.isdir(entry):
            yield from files_below(entry, here)
        else:
            yield entry


def _visible(folder: Path) -> list[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read ({error.strerror})") from error
    return [e for e in entries if not e.name.startswith(".") and e.name.lower() not in _LITTER]


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in image_suffixes() and not os.path.isdir(entry)


def _why_not(file: Path) -> str:
    """Why a file is left out; empty where it is an image."""
    if _is_image(file):
        return ""
    return file.suffix.lower() or "without an ending"
