"""The folder of a run, and files that are whole or not there."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, count
from pathlib import Path

import orjson

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


_MARK = "work.json"
"""Says which work a folder is for; it is there before the journal is."""


def folder_for(wanted: Path, work: str) -> Path:
    """Find the folder for a work: the one wanted, or where that is another's, one with a number.

    The same work is given the same folder, and other work another one. A folder that does not say
    whose it is, such as one that was made by hand or by version 0.1, is given to whoever asks; its
    journal then tells whether it is that of the same run.

    Args:
        wanted: the folder that a person would expect.
        work: the identity of what is to be done there.
    """
    others = (wanted.with_name(f"{wanted.name}-{number}") for number in count(2))
    return next(folder for folder in chain([wanted], others) if _work_of(folder) in (None, work))


def mark_folder(folder: Path, work: str) -> None:
    """Write down whose a folder is, unless it says so already.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        with (folder / _MARK).open("xb") as file:
            file.write(orjson.dumps({"work": work}))
    except FileExistsError:
        pass
    except OSError as error:
        raise StorageError(
            f"The run folder {folder} cannot be used ({error.strerror}); choose another with --out."
        ) from error


def _work_of(folder: Path) -> str | None:
    try:
        said = orjson.loads((folder / _MARK).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    return str(said.get("work")) if isinstance(said, dict) else None


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
