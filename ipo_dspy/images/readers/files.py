"""Image files with their classes, checked and labelled."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ipo_dspy.errors import DataError, UnreadableImage
from ipo_dspy.images.image import ImageFile, check_image
from ipo_dspy.images.labeled import LabeledImages, labeled_image
from ipo_dspy.images.names import Names, display_names

logger = logging.getLogger(__name__)


def label_files(
    files: Sequence[tuple[Path, str]],
    *,
    names: Names | None = None,
    skip_bad_images: bool = False,
) -> LabeledImages:
    """Label each file with the display text of its class, after decoding it once to be sure.

    Args:
        files: image file and class, in the order to keep.
        names: display text by class (see `display_names`).
        skip_bad_images: leave out images that cannot be read, with a warning that names them.

    Raises:
        DataError: the class names do not do, or a class has no image that can be read.
        UnreadableImage: an image cannot be read and `skip_bad_images` is off.
    """
    display = display_names(sorted({stored for _, stored in files}), names)
    bad = _unreadable(file for file, _ in files)
    if bad and not skip_bad_images:
        more = f"; so it is with {len(bad) - 1} more" if len(bad) > 1 else ""
        first = next(iter(bad.values()))
        raise UnreadableImage(f"{first}{more} (skip_bad_images=True goes on without such images)")
    for error in bad.values():
        logger.warning("Left out: %s", error)
    good = [(file, stored) for file, stored in files if file not in bad]
    if lost := set(display) - {stored for _, stored in good}:
        raise DataError(f"no image of the class {min(lost)!r} can be read; replace them")
    examples = (labeled_image(ImageFile(file), display[stored]) for file, stored in good)
    return LabeledImages(tuple(examples), tuple(display.values()))


def _unreadable(files: Iterable[Path]) -> dict[Path, UnreadableImage]:
    with ThreadPoolExecutor() as pool:
        return {file: error for file, error in pool.map(_error_of, files) if error is not None}


def _error_of(file: Path) -> tuple[Path, UnreadableImage | None]:
    try:
        check_image(file)
    except UnreadableImage as error:
        return file, error
    return file, None
