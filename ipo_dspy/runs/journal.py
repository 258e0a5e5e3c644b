"""Everything that was paid for, on disk before it is used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import orjson

from ipo_dspy.errors import ArgumentError, JournalError

FORMAT = 2
"""Version of the journal's layout."""


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

    A line that a kill or a full disk cut short is dropped. One process at a time may hold it.

    Args:
        folder: the run folder, made if missing.
        header: what the run is made of, for the first line.
        differences: says how the run of another first line is another run; empty for the same.

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
    ) -> None:
        self.path = folder / "journal.jsonl"
        self._differences = differences
        self._writing = threading.Lock()
        from filelock import FileLock, Timeout

        self._lock = FileLock(folder / "journal.lock")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise JournalError(
                f"Another process is working in {folder}. Wait for it or choose another run folder."
            ) from error
        except OSError as error:
            raise JournalError(
                f"The run folder {folder} cannot be used: {error}. Choose another one."
            ) from error
        try:
            self.events = self._open({"format": FORMAT, **header})
        except BaseException:
            self._lock.release()
            raise

    def _open(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Read the events there are, or begin the file."""
        content = self._read()
        self._end = content.rfind(b"\n") + 1
        lines = content[: self._end].splitlines()
        if not lines:
            self.append(header)
            return []
        try:
            found, *events = [_json_object(line) for line in lines]
        except ValueError as error:
            raise JournalError(
                f"{self.path} is damaged ({error}). Move it away to begin anew."
            ) from error
        self._compare(found)
        return events

    def _read(self) -> bytes:
        try:
            self.path.touch()
            return self.path.read_bytes()
        except OSError as error:
            raise JournalError(
                f"{self.path} cannot be read: {error}. Choose another run folder."
            ) from error

    def _compare(self, found: Mapping[str, Any]) -> None:
        written = found.get("format")
        if not isinstance(written, int) or written > FORMAT:
            raise JournalError(
                f"{self.path} was written by version {found.get('version')}, which is later than "
                "this one. Go on with that version, or choose another run folder: --out, in Python "
                "run_dir=."
            )
        if differences := self._differences(found):
            raise JournalError(
                f"{self.path} belongs to another run, with {'; '.join(differences)}. Repeat what it "
                "was begun with to go on, or choose another run folder: --out, in Python run_dir=."
            )

    def append(self, event: Mapping[str, Any]) -> None:
        """Write one event and wait until it is on disk.

        Raises:
            JournalError: it cannot be written, for example because the disk is full. What was
                written before stays valid.
        """
        line = orjson.dumps(dict(event)) + b"\n"
        try:
            with self._writing, self.path.open("r+b") as file:
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
        self._lock.release()


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


def _json_object(line: bytes) -> dict[str, Any]:
    value = orjson.loads(line)
    if not isinstance(value, dict):
        raise ArgumentError(f"expected a JSON object, found {line[:40]!r}")
    return value


def records(events: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """Pick the bodies of one kind of event, in order."""
    return [event[kind] for event in events if kind in event]
