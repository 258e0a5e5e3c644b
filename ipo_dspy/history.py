"""The trials so far, in memory, and everything that was paid for, on disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import orjson
from filelock import FileLock, Timeout

from ipo_dspy.records import ScoredPrompt, State, Trial

FORMAT = 1
"""Version of the journal's layout."""


class History:
    """The trials of one predictor's search, in the order they were made."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []
        self._texts: set[str] = set()

    def add(self, trial: Trial) -> None:
        """Remember one trial."""
        self._trials.append(trial)
        if trial.state is State.OK:
            self._texts.add(_folded(trial.text))

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)

    def __contains__(self, text: str) -> bool:
        """Tell whether a text was scored before; letter case and outer spaces do not matter."""
        return _folded(text) in self._texts

    @property
    def scored(self) -> list[Trial]:
        """The trials that have a score, in the order they were made."""
        return [trial for trial in self._trials if trial.state is State.OK]

    def best(self) -> Trial:
        """The trial to keep: highest rank, and the earliest among equals.

        Raises:
            ValueError: no trial has a score.
        """
        return max(self.scored, key=lambda trial: trial.rank)

    def shown(self, size: int) -> list[ScoredPrompt]:
        """The best `size` trials by training score, worst first and best last.

        The initial prompt is always among them.
        """
        ranked = sorted(self.scored, key=_training_rank)
        top = ranked[-size:] if size else []
        initial = [trial for trial in ranked if trial.step == 0]
        if size and not any(trial.step == 0 for trial in top):
            top = initial + top[len(initial) :]
        return [_shown(trial) for trial in top]

    def refusals(self, size: int) -> list[tuple[str, str]]:
        """The latest refused texts of different kinds, each with its reason."""
        latest: dict[str, str] = {}
        for trial in reversed(self._trials):
            if trial.state is State.INVALID:
                latest.setdefault(trial.text, trial.reason)
            if len(latest) == size:
                break
        return list(latest.items())

    def failures_in_a_row(self) -> int:
        """How many trials at the end say that the prompt model does not work."""
        count = 0
        for trial in reversed(self._trials):
            if not trial.counts_as_failure:
                break
            count += 1
        return count


def _folded(text: str) -> str:
    # CLIP's tokenizers lower-case, so texts that differ in case alone are one prompt.
    return " ".join(text.lower().split())


def _training_rank(trial: Trial) -> tuple[float, float]:
    if trial.score is None:
        raise ValueError("Only trials with a score have a rank.")
    return trial.score.rank


def _shown(trial: Trial) -> ScoredPrompt:
    if trial.score is None:
        raise ValueError("Only trials with a score can be shown.")
    return ScoredPrompt(
        prompt=trial.text, loss=round(trial.score.loss, 4), accuracy=round(trial.score.accuracy, 2)
    )


class EventLog(Protocol):
    """Where events go; `Journal` is the one on disk."""

    events: list[dict[str, Any]]
    """The events of an earlier, interrupted run."""

    def append(self, event: Mapping[str, Any]) -> None:
        """Keep one event."""


class JournalError(RuntimeError):
    """The journal cannot be used; the message says why and what to do."""


class Journal:
    """Append-only JSON lines: a header, then one event a line, each flushed to disk.

    A line that a kill cut short is dropped when the journal is opened again. One process at a time
    may hold it.

    Args:
        folder: the run folder, made if missing.
        header: what the run is made of; a journal with another header is refused.

    Raises:
        JournalError: another process holds the journal, its header differs, or it is damaged.
    """

    def __init__(self, folder: Path, header: Mapping[str, Any]) -> None:
        self.path = folder / "journal.jsonl"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JournalError(
                f"The run folder {folder} cannot be made: {error}. Choose another one."
            ) from error
        self._writing = threading.Lock()
        self._lock = FileLock(folder / "journal.lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise JournalError(
                f"Another process is working in {folder}. Wait for it or choose another run folder."
            ) from error
        try:
            self.events = self._open({"format": FORMAT, **header})
        except BaseException:
            self._lock.release()
            raise

    def _open(self, header: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Read the events there are, or begin the file."""
        content = self.path.read_bytes() if self.path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if not lines:
            self._write(orjson.dumps(dict(header)) + b"\n", at=0)
            return []
        try:
            found, *events = [orjson.loads(line) for line in lines]
        except orjson.JSONDecodeError as error:
            raise JournalError(
                f"{self.path} is damaged ({error}). Move it away to begin anew."
            ) from error
        self._compare(found, orjson.loads(orjson.dumps(dict(header))))
        if whole != content:
            os.truncate(self.path, len(whole))
        return events

    def _compare(self, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        for key in [*expected, *found]:
            if found.get(key) != expected.get(key):
                raise JournalError(
                    f"{self.path} belongs to a run with another {key.replace('_', ' ')}: "
                    f"{found.get(key)!r} there, {expected.get(key)!r} here. Repeat the command it "
                    "was begun with to go on, or choose another run folder."
                )

    def append(self, event: Mapping[str, Any]) -> None:
        """Write one event and wait until it is on disk.

        Raises:
            JournalError: it cannot be written, for example because the disk is full. What was
                written before stays valid.
        """
        self._write(orjson.dumps(dict(event)) + b"\n", at=None)

    def _write(self, line: bytes, at: int | None) -> None:
        try:
            with self._writing, self.path.open("wb" if at == 0 else "ab") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
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

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def append(self, event: Mapping[str, Any]) -> None:
        """Let the event go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


def records(events: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    """Pick the bodies of one kind of event, in order."""
    return [event[kind] for event in events if kind in event]
