"""Everything that was paid for, on disk before it is used."""

from __future__ import annotations

import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import orjson

from ipo_dspy.errors import JournalError
from ipo_dspy.runs.events import Check
from ipo_dspy.runs.folder import JOURNAL_FILE, flush_folder, hold, read_whole

FORMAT = 2
"""Version of the journal's layout."""
CHECKSUM = b',"crc32":'
"""What stands before the checksum of a line."""
_FORMAT_WITHOUT_CHECKSUMS = 1
_logger = logging.getLogger(__name__)
_opening = threading.Lock()
_open_folders: set[Path] = set()


class EventLog(Protocol):
    """Where events go; `Journal` is the one on disk."""

    events: list[dict[str, Any]]
    """The events of an earlier, interrupted run."""

    def append(self, event: Mapping[str, Any]) -> None:
        """Keep one event."""

    @property
    def resume_hint(self) -> str:
        """One sentence for who was stopped."""


class Journal:
    """Append-only JSON lines: a header, then one event a line, each flushed to disk.

    A line that a kill or a full disk cut short is dropped. Every line carries a checksum: a damaged
    event is named in a warning and costs itself alone, for what it held is asked or scored again.
    One search at a time may hold the journal.

    Args:
        folder: the run folder, made if missing.
        header: what the run is made of, for the first line.
        differences: says how the run of another first line is another run; empty for the same.
        check: finds events that no search could have written; they are left out like damaged ones.

    Raises:
        JournalError: another process holds the journal, it is that of another run or of a later
            version, it is damaged, or the folder cannot be used.
    """

    resume_hint = "Repeat the command to go on where it stopped."

    def __init__(
        self,
        folder: Path,
        header: Mapping[str, Any],
        differences: Callable[[Mapping[str, Any]], Sequence[str]] = lambda found: (),
        check: Check = lambda events: {},
    ) -> None:
        self.path = folder / JOURNAL_FILE
        self._differences = differences
        self._check = check
        self._writing = threading.Lock()
        self._is_closed = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"The run folder {folder} cannot be used: {error}. Choose another one."
            ) from error
        with ExitStack() as stack:
            stack.enter_context(_alone(folder))
            self.events = self._open({"format": FORMAT, **header})
            self._held = stack.pop_all()

    def _open(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Read the events there are, or begin the file."""
        content = self._read()
        self._end = content.rfind(b"\n") + 1
        first, *lines = content[: self._end].split(b"\n")
        if not first and not lines:
            self.append(header)
            return []
        found = self._header(first)
        needs_checksum = _has_checksums(found)
        self._compare(found)
        events = {
            number: event
            for number, line in enumerate(lines[:-1], start=2)
            if (event := self._event(number, line, needs_checksum)) is not None
        }
        wrong = self._check(events)
        for number, reason in sorted(wrong.items()):
            self._leave_out(number, reason)
        return [event for number, event in events.items() if number not in wrong]

    def _header(self, line: bytes) -> dict[str, Any]:
        try:
            return _parse_header(line)
        except ValueError as error:
            raise _is_no_header(self.path, error) from error

    def _event(self, number: int, line: bytes, needs_checksum: bool) -> dict[str, Any] | None:
        """Read one event; a damaged one costs itself alone, for what it held is made again."""
        try:
            return _parse(line, needs_checksum)
        except ValueError as error:
            self._leave_out(number, str(error))
            return None

    def _leave_out(self, number: int, reason: str) -> None:
        _logger.warning(
            "%s is damaged in line %d (%s); the event is left out, and what it held is made again.",
            self.path,
            number,
            reason,
        )

    def _read(self) -> bytes:
        try:
            if not self.path.exists():
                self.path.touch()
                flush_folder(self.path.parent)
            return read_whole(self.path)
        except OSError as error:
            raise JournalError(
                f"{self.path} cannot be read: {error}. Choose another run folder."
            ) from error

    def _compare(self, found: Mapping[str, Any]) -> None:
        written = found.get("format")
        if not isinstance(written, int) or not _FORMAT_WITHOUT_CHECKSUMS <= written <= FORMAT:
            raise JournalError(
                f"{self.path} was written by version {found.get('version')}, which is later than "
                "this one. Go on with that version, or choose another run folder: --out, in Python "
                "run_dir=."
            )
        try:
            differences = self._differences(found)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise _is_no_header(self.path, error) from error
        if differences:
            raise JournalError(
                f"{self.path} belongs to another run, with {'; '.join(differences)}. Repeat what "
                "it was begun with to go on, or choose another run folder: --out, in Python "
                "run_dir=."
            )

    def append(self, event: Mapping[str, Any]) -> None:
        """Write one event and wait until it is on disk.

        Raises:
            JournalError: it cannot be written, for example because the disk is full. What was
                written before stays valid.
        """
        line = _with_checksum(orjson.dumps(dict(event))) + b"\n"
        try:
            with self._writing, self.path.open("r+b") as file:
                if self._is_closed:
                    # A call that was left behind may still answer, when the folder is another's.
                    raise JournalError(f"{self.path} is closed; nothing is written any more.")
                # Writing where the last whole line ends keeps a line cut short from spoiling more.
                file.seek(self._end)
                file.truncate()
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
                self._end += len(line)
        except OSError as error:
            raise JournalError(
                f"{self.path} cannot be written: {error}. What was written before is kept; make "
                "room and repeat the command to go on."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._writing:
            self._is_closed = True
        self._held.close()


class NoJournal:
    """Keeps nothing: for a search without a run folder."""

    resume_hint = "Nothing was kept; with run_dir=... a search goes on where it stopped."

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def append(self, event: Mapping[str, Any]) -> None:
        """Let the event go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a folder for one journal: `hold` alone would let in another one of this process."""
    with _opening:
        key = folder.resolve()
        if key in _open_folders:
            raise JournalError(
                f"Another search of this process is working in {folder}. Wait for it or choose "
                "another run folder."
            )
        with ExitStack() as stack:
            stack.enter_context(hold(folder, patience=0))
            _open_folders.add(key)
            held = stack.pop_all()
    try:
        yield
    finally:
        with _opening:
            _open_folders.discard(key)
            held.close()


def _with_checksum(line: bytes) -> bytes:
    """Put the CRC-32 of a JSON object behind its last member."""
    return line[:-1] + CHECKSUM + b'"%08x"}' % zlib.crc32(line)


def _parse(line: bytes, needs_checksum: bool) -> dict[str, Any]:
    """Read a JSON object, and check it against its checksum.

    Raises:
        ValueError: it is none, or not what was written.
    """
    body, found, checksum = line.rpartition(CHECKSUM)
    if found:
        line = body + b"}"
        if checksum != b'"%08x"}' % zlib.crc32(line):
            raise ValueError("its checksum does not fit")
    elif needs_checksum:
        raise ValueError("its checksum is missing")
    value = orjson.loads(line)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {line[:40]!r}")
    return value


def _parse_header(line: bytes) -> dict[str, Any]:
    """Read the first line, whose own format says whether it must have a checksum.

    Raises:
        ValueError: it is damaged.
    """
    header = _parse(line, needs_checksum=False)
    if header.get("format") == FORMAT:
        _parse(line, needs_checksum=True)
    return header


def _has_checksums(header: Mapping[str, Any]) -> bool:
    """Whether each event of a journal must have a checksum."""
    return header.get("format") != _FORMAT_WITHOUT_CHECKSUMS


def _is_no_header(path: Path, error: Exception) -> JournalError:
    return JournalError(
        f"{path} is damaged in line 1 ({error}), which says what run it is of. Move it away to "
        "begin anew."
    )


def check_journal(folder: Path) -> None:
    """Check that the journal of a folder, where there is one, says what run it is of.

    Raises:
        JournalError: its first line is damaged, or it cannot be read.
    """
    path = folder / JOURNAL_FILE
    try:
        first, end, _ = read_whole(path).partition(b"\n")
        if end:
            _parse_header(first)
    except FileNotFoundError:
        return
    except ValueError as error:
        raise _is_no_header(path, error) from error
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error}. Choose another run folder.") from error


def read_journal(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the header and the events of a run, held by another process or not.

    Lines that are damaged, or just being written, are left out.

    Raises:
        JournalError: there is no journal, or its first line is damaged.
    """
    path = folder / JOURNAL_FILE
    try:
        first, *lines = read_whole(path).split(b"\n")
        header = _parse_header(first)
    except (OSError, ValueError) as error:
        raise JournalError(f"{path} cannot be read: {error}.") from error
    needs_checksum = _has_checksums(header)
    events = []
    for line in lines:
        with suppress(ValueError):
            events.append(_parse(line, needs_checksum))
    return header, events


def records(events: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """Pick the bodies of one kind of event, in order."""
    return [event[kind] for event in events if kind in event]
