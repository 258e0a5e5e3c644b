"""`ipo-dspy runs`: what searches there are, and what they found."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from rich import box
from rich.table import Table
from rich.text import Text

from ipo_dspy.cli.table import check_out, write_rows
from ipo_dspy.errors import ArgumentError, JournalError
from ipo_dspy.records import State, Trial
from ipo_dspy.runs.folder import JOURNAL_FILE, PROGRAM_FILE, claim_file, write_whole
from ipo_dspy.runs.journal import read_journal, records
from ipo_dspy.scoring.ranking import Ranking
from ipo_dspy.terminal.output import results


class Run(NamedTuple):
    """What a run folder holds; `trouble` says why nothing could be read of it."""

    folder: Path
    written: datetime
    is_done: bool = False
    best: Trial | None = None
    trials: int = 0
    trouble: str = ""


def runs(folder: Path = Path("runs"), /, *, out: Path | None = None) -> None:
    """List run folders, the latest first, with the best prompt of each.

    Args:
        folder: where the run folders lie, or one of them.
        out: also write the table to this file, as .csv, .json or .md.
    """
    if out is not None:
        claim_file(out)
        check_out(out, "run")
    if not folder.is_dir():
        raise ArgumentError(
            f"{folder} is no folder. Give the one that holds run folders, or one of them."
        )
    found = [read_run(path.parent) for path in sorted(folder.glob(f"**/{JOURNAL_FILE}"))]
    if not found:
        results.print(f"No run folder lies in {folder}; ipo-dspy optimize makes one.")
        return
    found.sort(key=lambda run: run.written, reverse=True)
    results.print(_table(found))
    if out is not None:
        write_whole(out, partial(write_rows, list(map(_row, found))))
        results.print(f"Written: {out}", soft_wrap=True)


def read_run(folder: Path) -> Run:
    """Read what a run has found so far, whether it goes on, has ended or was stopped."""
    written = datetime.fromtimestamp((folder / JOURNAL_FILE).stat().st_mtime).astimezone()
    try:
        _, events = read_journal(folder)
        trials = [Trial.model_validate(body) for body in records(events, "trial")]
    except JournalError as error:
        return Run(folder, written, trouble=str(error))
    except ValidationError as error:
        return Run(
            folder, written, trouble=f"{folder / JOURNAL_FILE} holds no trials: {error.title}."
        )
    scored = [trial for trial in trials if trial.state is State.OK]
    ranking = Ranking.of(trial.score for trial in scored if trial.score is not None)
    return Run(
        folder,
        written,
        is_done=(folder / PROGRAM_FILE).is_file(),
        best=max(scored, key=ranking.key, default=None),
        trials=len(trials),
    )


def _row(run: Run) -> dict[str, Any]:
    """A run as a row of a file; what is not known of it is None."""
    score = run.best and (run.best.validation or run.best.score)
    return {
        "run": str(run.folder),
        "prompt": run.best.text if run.best else "",
        "accuracy": score.accuracy if score else None,
        "loss": score.loss if score else None,
        "images": score.n if score else None,
        "prompts": run.trials,
        "ended": run.is_done,
        "written": run.written.isoformat(timespec="seconds"),
        "trouble": run.trouble,
    }


def _table(found: list[Run]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("run", "best prompt"):
        table.add_column(name, ratio=1, overflow="fold")
    for name in ("accuracy %", "images", "prompts", "last written"):
        table.add_column(name, justify="right")
    for run in found:
        text, accuracy, images = _best(run)
        state = "" if run.is_done or run.trouble else " (not ended)"
        when = f"{run.written:%Y-%m-%d %H:%M}"
        table.add_row(
            Text(f"{run.folder}{state}"), Text(text), accuracy, images, str(run.trials), when
        )
    return table


def _best(run: Run) -> tuple[str, str, str]:
    if run.best is None:
        return run.trouble or "nothing was scored yet", "", ""
    score = run.best.validation or run.best.score
    return run.best.text, f"{score.accuracy:.1f}" if score else "", f"{score.n}" if score else ""
