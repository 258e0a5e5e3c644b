"""Images in class folders: `path/<class name>/*.jpg`."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ipo_dspy.data.errors import DataError, UnreadableImage
from ipo_dspy.data.images import ImageFile, check_image
from ipo_dspy.data.labeled import LabeledImages, check_classnames, labeled_image

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
_SPLIT_FOLDERS = frozenset({"train", "training", "test", "val", "valid", "validation"})
_ARCHIVE_LITTER = "__MACOSX"

StrPath = str | os.PathLike[str]


def read_folder(
    path: StrPath,
    *,
    names: Mapping[str, str] | StrPath | None = None,
    skip_bad_images: bool = False,
) -> LabeledImages:
    """Read labelled images from class folders, sorted by name.

    A class is called by its folder with `_` read as a space. Hidden files and files that are no
    images by their suffix are passed over. Every image is decoded once to be sure of it.

    Args:
        path: the folder that holds one folder per class.
        names: display text of classes by folder name, or a file of them (see
            `read_classnames`); a folder without an entry keeps its own name.
        skip_bad_images: leave out images that cannot be read, with a warning that names them.

    Raises:
        DataError: the folder is missing, empty, or not laid out in class folders; a class has
            no images or no name of its own; there is one class only.
        UnreadableImage: an image cannot be read and `skip_bad_images` is off.
    """
    root = Path(path)
    folders = _class_folders(root)
    display = _display_names([folder.name for folder in folders], names)
    classnames = check_classnames(display)
    files = {folder: _images_in(folder) for folder in folders}
    bad = _unreadable([file for group in files.values() for file in group], skip_bad_images)
    examples = []
    for folder in folders:
        good = [file for file in files[folder] if file not in bad]
        if not good:
            raise DataError(f"no image in the class folder {folder} can be read; replace them")
        examples += [labeled_image(ImageFile(file), display[folder.name]) for file in good]
    return LabeledImages(tuple(examples), classnames)


def read_classnames(path: StrPath) -> dict[str, str]:
    """Display text of classes by folder name, from a file.

    Either a JSON object, or lines of a folder name and its text with a tab between them, or with
    the first blank between them: `n02123045 tabby cat`.

    Raises:
        DataError: the file is missing or has another form.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the file of class names {file} cannot be read ({error})") from error
    if file.suffix.lower() == ".json":
        return _names_from_json(file, text)
    names = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        folder, _, name = line.strip().partition("\t" if "\t" in line.strip() else " ")
        if not name.strip():
            raise DataError(f"line {number} of {file} needs a folder name and a class name")
        names[folder.strip()] = name.strip()
    return names


def _names_from_json(file: Path, text: str) -> dict[str, str]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is not valid JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise DataError(f"{file} must hold one JSON object of folder names to class names")
    return content


def _display_names(
    folders: Sequence[str], names: Mapping[str, str] | StrPath | None
) -> dict[str, str]:
    if names is None:
        given: Mapping[str, str] = {}
    elif isinstance(names, Mapping):
        given = names
    else:
        given = read_classnames(names)
    if given and not any(folder in given for folder in folders):
        raise DataError(
            f"the class names given are for {next(iter(given))!r} and others, "
            f"but the class folders are {folders[0]!r} and others; none of them agree"
        )
    return {folder: given.get(folder, folder.replace("_", " ").strip()) for folder in folders}


def _class_folders(root: Path) -> list[Path]:
    if not root.exists():
        raise DataError(f"there is no folder {root}; check the path")
    if not root.is_dir():
        raise DataError(f"{root} is a file; give the folder that holds one folder per class")
    entries = _visible(root)
    folders = [entry for entry in entries if entry.is_dir() and entry.name != _ARCHIVE_LITTER]
    if not folders:
        raise _no_class_folders(root, entries)
    if splits := [folder.name for folder in folders if _is_split(folder)]:
        raise DataError(
            f"{root} holds the splits {' and '.join(splits)}, not classes; "
            f"give one of them, such as {root / splits[0]}"
        )
    return folders


def _no_class_folders(root: Path, entries: Sequence[Path]) -> DataError:
    if any(_is_image(entry) for entry in entries):
        return DataError(
            f"{root} holds images but no class folders; "
            f"sort them into one folder per class, such as {root / 'cat'} and {root / 'dog'}"
        )
    return DataError(f"{root} is empty; put one folder of images per class into it")


def _is_split(folder: Path) -> bool:
    """Whether a folder named like a split holds class folders rather than images."""
    if folder.name.lower() not in _SPLIT_FOLDERS:
        return False
    entries = _visible(folder)
    return any(entry.is_dir() for entry in entries) and not any(map(_is_image, entries))


def _images_in(folder: Path) -> list[Path]:
    entries = _visible(folder)
    if images := [entry for entry in entries if _is_image(entry)]:
        return images
    if any(entry.is_dir() for entry in entries):
        raise DataError(
            f"the class folder {folder} holds folders, not images; "
            "put its images directly into it, or give the folder one level down"
        )
    raise DataError(
        f"the class folder {folder} has no images ({', '.join(sorted(IMAGE_SUFFIXES))}); "
        "add some or remove it"
    )


def _unreadable(files: Sequence[Path], skip_bad_images: bool) -> frozenset[Path]:
    with ThreadPoolExecutor() as pool:
        errors = [error for error in pool.map(_error_of, files) if error is not None]
    if errors and not skip_bad_images:
        first = errors[0][1]
        more = f"; so are {len(errors) - 1} more" if len(errors) > 1 else ""
        raise UnreadableImage(f"{first}{more} (skip_bad_images goes on without such images)")
    for _, error in errors:
        logger.warning("Left out: %s", error)
    return frozenset(file for file, _ in errors)


def _error_of(file: Path) -> tuple[Path, UnreadableImage] | None:
    try:
        check_image(file)
    except UnreadableImage as error:
        return file, error
    return None


def _visible(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in IMAGE_SUFFIXES and not entry.is_dir()
