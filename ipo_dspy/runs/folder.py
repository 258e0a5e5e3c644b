"""The folder of a run: held by one process at a time, its files whole or not there."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain, count
from pathlib import Path
from tempfile import mkdtemp

import orjson

from ipo_dspy.errors import ArgumentError, IPOError, JournalError, StorageError

JOURNAL_FILE = "journal.jsonl"
"""What the journal of a run is called in its folder."""
PROGRAM_FILE = "program.json"
"""What the found program is called in its folder."""
REPORT_FILE = "report.html"
"""What the report of a run is called in its folder."""
_LOCK = "journal.lock"
_MARK = "work.json"
"""Says which work a folder is for; it is there before the journal is."""
UNFINISHED = ".part-"
"""What names of files and folders begin with until they are whole."""
_PATIENCE = 60.0
"""Seconds to wait for a process that is just writing its last files."""
_being_written: set[Path] = set()


def make_run_folder(folder: Path, images: Path | None = None) -> None:
    """Make the folder, and make sure that it can be written.

    Args:
        folder: the run folder.
        images: the folder of the images; a run folder in it would be taken for a class.

    Raises:
        ArgumentError: it lies among the images.
        StorageError: it cannot be made or written.
    """
    # Path.resolve raises an error of its own where links go in a circle.
    among = None if images is None else Path(os.path.realpath(images))
    if among and among.is_dir() and Path(os.path.realpath(folder)).is_relative_to(among):
        raise ArgumentError(
            f"The run folder {folder} would lie among the images of {images}; choose another "
            f"with --out, such as {among.parent / 'runs'}."
        )
    _check_writable(folder, f"The run folder {folder}")


def make_room(file: Path, inputs: Iterable[Path] = ()) -> None:
    """Make the folder of a file that is to be written later, and make sure that it can be.

    Args:
        file: what is to be written, and replaces what is there.
        inputs: files that are read for it, and must not be replaced.

    Raises:
        ArgumentError: the file is one of the inputs.
        StorageError: it cannot be written, or the file is a folder.
    """
    if os.path.isdir(file):
        raise StorageError(f"{file} is a folder; name a file with --out.")
    if os.path.exists(file) and any(
        os.path.exists(source) and os.path.samefile(source, file) for source in inputs
    ):
        raise ArgumentError(
            f"{file} is read by this command and would be replaced; name another file with --out."
        )
    _check_writable(file.parent, f"The folder {file.parent}")


def claim_file(file: Path, inputs: Iterable[Path] = ()) -> None:
    """Make room for a file that a person names, and that may be another's; see `make_room`.

    Raises:
        ArgumentError: a run has written it in its folder and reads it from there, or the command
            reads it.
        StorageError: it cannot be written, or the file is a folder.
    """
    is_of_a_run = (file.parent / JOURNAL_FILE).is_file() or (file.parent / _MARK).is_file()
    if is_of_a_run and file.name in (JOURNAL_FILE, _MARK, _LOCK, PROGRAM_FILE, REPORT_FILE):
        raise ArgumentError(
            f"{file} belongs to the run in {file.parent} and would be replaced; name another file "
            "with --out."
        )
    make_room(file, inputs)


def _check_writable(folder: Path, name: str) -> None:
    probe = folder / f"{UNFINISHED}{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"{name} cannot be used ({error.strerror}); choose another with --out."
        ) from error


@contextmanager
def hold(folder: Path, patience: float = _PATIENCE) -> Iterator[None]:
    """Hold a run folder against other processes, and take away what killed ones left unfinished.

    The process that holds a folder already may hold it again.

    Args:
        folder: the run folder.
        patience: seconds to wait while another process holds it.

    Raises:
        JournalError: another process holds it for longer.
        StorageError: the lock cannot be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / _LOCK, is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=patience, poll_interval=0.05)
    except Timeout as error:
        raise JournalError(
            f"Another process is working in {folder}. Wait for it or choose another run folder."
        ) from error
    except OSError as error:
        raise StorageError(
            f"The run folder {folder} cannot be used: {error}. Choose another one."
        ) from error
    try:
        remove_unfinished(folder)
        yield
    finally:
        lock.release()


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process left unfinished; only for who holds the folder."""
    for left in folder.glob(f"{UNFINISHED}*"):
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left, ignore_errors=True)
            continue
        with suppress(OSError):
            left.unlink()


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


@contextmanager
def unless_begun(folder: Path) -> Iterator[None]:
    """Take a marked folder away again where its work ends by an error and left nothing there."""
    try:
        yield
    except IPOError:
        with suppress(OSError):
            if [each.name for each in folder.iterdir()] == [_MARK]:
                (folder / _MARK).unlink()
            # Only one that is empty can be removed.
            folder.rmdir()
        raise


def _work_of(folder: Path) -> str | None:
    try:
        said = orjson.loads(read_whole(folder / _MARK))
    except (OSError, orjson.JSONDecodeError):
        return None
    return str(said.get("work")) if isinstance(said, dict) else None


def read_whole(path: Path) -> bytes:
    """Read a file; a pipe or a device would never end, and is refused.

    Raises:
        OSError: it is none, or cannot be read.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, no file", str(path))
    return path.read_bytes()


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under a name of its own first, so that it is never seen half-written.

    It is on disk when this returns, also after a power failure. Several processes may write the
    same file at the same time; the last one stays.

    Args:
        path: the file.
        write: writes to the path that it is given.

    Raises:
        StorageError: it cannot be written; what was there before stays.
    """
    # DSPy chooses the format by the suffix.
    unfinished = path.with_name(f"{UNFINISHED}{secrets.token_hex(4)}-{path.name}")
    with _until_done(unfinished):
        try:
            write(unfinished)
            with unfinished.open("r+b") as file:
                os.fsync(file.fileno())
            unfinished.replace(path)
            flush_folder(path.parent)
        except OSError as error:
            raise StorageError(
                f"{path} cannot be written: {error.strerror or error}. What was written before is "
                "kept; make room or choose another place, and repeat the command to go on."
            ) from error


@contextmanager
def _until_done(path: Path) -> Iterator[None]:
    """Take away a file or folder that is only there while something is being written."""
    _being_written.add(path)
    try:
        yield
    finally:
        _take_away(path)
        _being_written.discard(path)


def give_up_writing() -> None:
    """Take away what this process has not finished; for leaving without unwinding."""
    for path in tuple(_being_written):
        _take_away(path)


def _take_away(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with suppress(OSError):
        path.unlink()


def write_together(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file, and beside it what belongs to it; the file itself comes last.

    Args:
        path: the file; its folder is made.
        write: writes to the path that it is given, and beside it.

    Raises:
        ArgumentError: a file of another name is there already, with other content.
        StorageError: a file cannot be written.
    """
    folder = Path(mkdtemp())
    with _until_done(folder):
        written = folder / path.name
        write(written)
        beside = sorted(file for file in folder.iterdir() if file != written)
        for file in beside:
            there = path.with_name(file.name)
            is_own = there.name.startswith(f"{path.stem}.")
            if not is_own and there.exists() and there.read_bytes() != file.read_bytes():
                raise ArgumentError(
                    f"{there} is there already and says something else; choose another folder, or "
                    "move it away."
                )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"The folder {path.parent} cannot be made: {error.strerror}."
            ) from error
        for file in (*beside, written):
            write_whole(path.with_name(file.name), partial(shutil.copyfile, file))


def flush_folder(folder: Path) -> None:
    """Wait until names in a folder are on disk, where the system offers that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
