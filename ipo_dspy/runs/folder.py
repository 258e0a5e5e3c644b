"""The folder of a run, and files that are whole or not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ipo_dspy.errors import ArgumentError, StorageError


def make_run_folder(folder: Path, images: Path | None = None) -> None:
    """Make the folder, and make sure that it can be written.

    Args:
        folder: the run folder.
        images: the folder of the images; a run folder in it would be taken for a class.

    Raises:
        ArgumentError: it lies among the images.
        StorageError: it cannot be made or written.
    """
    if images is not None and images.is_dir() and folder.resolve().is_relative_to(images.resolve()):
        raise ArgumentError(
            f"The run folder {folder} would lie among the images of {images}; choose another "
            f"with --out, such as {images.resolve().parent / 'runs'}."
        )
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"The run folder {folder} cannot be used ({error.strerror}); choose another with --out."
        ) from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name first, so that it is never seen half-written.

    Args:
        path: the file.
        write: writes to the path that it is given.

    Raises:
        StorageError: it cannot be written.
    """
    # DSPy chooses the format by the suffix.
    unfinished = path.with_name(f".part-{path.name}")
    try:
        write(unfinished)
        unfinished.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written: {error.strerror or error}. What was written before is "
            "kept; make room or choose another place, and repeat the command to go on."
        ) from error
