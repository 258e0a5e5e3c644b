"""Image files with their classes, checked and labelled."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ipo_dspy.errors import DataError, UnreadableImage
from ipo_dspy.images.copies import byte_equal
from ipo_dspy.images.decoding import HEIF_SUFFIXES
from ipo_dspy.images.image import ImageFile, check_image
from ipo_dspy.images.labeled import LabeledImages, LeftOut, labeled_image
from ipo_dspy.images.names import Names, display_names

logger = logging.getLogger(__name__)

_NAMED = 3
"""Files that a warning names of each kind."""


def label_files(
    files: Sequence[tuple[Path, str]],
    *,
    names: Names | None = None,
    skip_bad_images: bool = False,
    left_out: Iterable[LeftOut] = (),
) -> LabeledImages:
    """Label each file with the display text of its class, after decoding it once to be sure.

    What is left out is counted and named in a warning, and so is an image under two labels.

    Args:
        files: image file and class, in the order to keep.
        names: display text by class (see `display_names`).
        skip_bad_images: leave out images that cannot be read, with a warning that names them.
        left_out: files that the caller passed over.

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
    examples = tuple(labeled_image(ImageFile(file), display[stored]) for file, stored in good)
    passed_over = (*left_out, *(LeftOut(file, "unreadable") for file in bad))
    _tell_left_out(len(good), passed_over)
    images = LabeledImages(examples, tuple(display.values()), passed_over)
    _tell_two_labels(images)
    return images


def _tell_left_out(read: int, left_out: Sequence[LeftOut]) -> None:
    if not left_out:
        return
    kinds = Counter(each.reason for each in left_out)
    told = []
    for reason, count in kinds.items():
        some = [str(each.path) for each in left_out if each.reason == reason][:_NAMED]
        more = ", ..." if count > len(some) else ""
        told.append(f"{count} {reason} ({', '.join(some)}{more})")
    hint = ""
    if any(each.path.suffix.lower() in HEIF_SUFFIXES for each in left_out):
        hint = " HEIC is read after: pip install 'ipo-dspy[heic]'."
    logger.warning(
        "Read %d of %d files as images; left out: %s.%s",
        read,
        read + len(left_out),
        ", ".join(told),
        hint,
    )


def _tell_two_labels(images: LabeledImages) -> None:
    for group in byte_equal(images.examples):
        first = images.examples[group[0]]
        for index in group[1:]:
            other = images.examples[index]
            if other.label != first.label:
                logger.warning(
                    "The same image has two labels: %s is %r, and %s is %r; remove one.",
                    first.image.path,
                    first.label,
                    other.image.path,
                    other.label,
                )
                break


def _unreadable(files: Iterable[Path]) -> dict[Path, UnreadableImage]:
    with ThreadPoolExecutor() as pool:
        return {file: error for file, error in pool.map(_error_of, files) if error is not None}


def _error_of(file: Path) -> tuple[Path, UnreadableImage | None]:
    try:
        check_image(file)
    except UnreadableImage as error:
        return file, error
    return file, None
