"""What is shown: results on standard output, progress and remarks on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.segment import Segment
from rich.status import Status

from ipo_dspy.records import State, Trial, visible
from ipo_dspy.runs.budget import Spent
from ipo_dspy.scoring.ranking import Ranking


class _SafeConsole(Console):
    """Shows the hidden characters of texts as escapes, whatever they are printed in."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Render with `visible` texts; what moves the cursor comes from the console itself."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


results = _SafeConsole(highlight=False, markup=False, emoji=False)
"""For what a command was asked for."""
remarks = _SafeConsole(stderr=True, highlight=False, markup=False, emoji=False)
"""For everything else."""

_T = TypeVar("_T")
_LINES_WITHOUT_TERMINAL = 10
_PATIENCE_WITHOUT_TERMINAL = 5.0
"""Seconds before anything is said of how far it is."""
_moving: list[Status | Progress] = []


def remark(sentence: str) -> None:
    """Show a sentence on standard error; only a terminal gets it wrapped."""
    remarks.print(sentence, soft_wrap=not remarks.is_terminal)


@contextmanager
def stage(title: str) -> Iterator[None]:
    """Show what is being done while it lasts; without a terminal, as one line."""
    if not remarks.is_terminal:
        remark(f"{title} ...")
        yield
        return
    with _shown(remarks.status(f"{title} ...")):
        yield


@contextmanager
def _shown(display: Status | Progress) -> Iterator[None]:
    _moving.append(display)
    try:
        with display:
            yield
    finally:
        _moving.remove(display)


def stop_moving() -> None:
    """Take away what moves on the screen, so that the next line stays the last one."""
    for display in _moving:
        display.stop()


def counted(title: str, items: Iterable[_T], total: int) -> Iterator[_T]:
    """Give the items, and show how many there were and how many come a second.

    Without a terminal, a tenth of them is told in a line.
    """
    if not remarks.is_terminal:
        remark(f"{title} {total:,} images ...")
        step = max(total // _LINES_WITHOUT_TERMINAL, 1)
        began = monotonic()
        for number, item in enumerate(items, start=1):
            yield item
            if number % step == 0 and monotonic() - began > _PATIENCE_WITHOUT_TERMINAL:
                remark(f"{number:,} of {total:,}, {number / (monotonic() - began):,.0f} a second")
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(),
        console=remarks,
        expand=True,
        transient=True,
    )
    task = bar.add_task(title, total=total, speed="")
    began = monotonic()
    with _shown(bar):
        for number, item in enumerate(items, start=1):
            yield item
            speed = f"{number / (monotonic() - began):,.0f} images/s"
            bar.update(task, completed=number, speed=speed)


@contextmanager
def counting(title: str) -> Iterator[Callable[[int], None]]:
    """Show how many images were dealt with and how many a second; gives what is told of more.

    Without a terminal, a line now and then.
    """
    began = monotonic()
    done, told = 0, began

    def line() -> str:
        return f"{title}: {done:,} images, {done / max(monotonic() - began, 1e-9):,.0f} a second"

    def advance(images: int) -> None:
        nonlocal done, told
        done += images
        if status is not None:
            status.update(line())
        elif monotonic() - told > _PATIENCE_WITHOUT_TERMINAL:
            told = monotonic()
            remark(line())

    status = remarks.status(f"{title} ...") if remarks.is_terminal else None
    if status is None:
        remark(f"{title} ...")
        yield advance
        return
    with _shown(status):
        yield advance


class SearchProgress:
    """A bar with the best accuracy and loss so far; without a terminal, a line now and then.

    Args:
        steps: steps of the search.
        prompts_per_step: proposals of a step.
    """

    def __init__(self, steps: int, prompts_per_step: int) -> None:
        self._steps = steps
        self._total = steps * prompts_per_step
        self._every = max(1, steps // _LINES_WITHOUT_TERMINAL)
        self._ranking = Ranking()
        self._best: Trial | None = None
        self._seen = 0
        self._said: set[str] = set()
        self._last_step = -1
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=remarks,
            expand=True,
            transient=True,
        )
        self._task = self._bar.add_task(
            "encoding and describing images", start=False, total=self._total
        )

    def show(self, trial: Trial, spent: Spent) -> None:
        """Take note of one trial."""
        self._seen += trial.step > 0
        better = self._is_best(trial)
        if better:
            self._best = trial
        if trial.state is State.FAILED:
            self._say_once(f"A call failed: {trial.reason}. The search goes on.")
        if remarks.is_terminal:
            self._bar.update(self._task, completed=self._seen, description=self._standing())
        elif better or (trial.step % self._every == 0 and trial.step != self._last_step):
            remark(f"step {trial.step} of {self._steps}: {self._standing()}")
            self._last_step = trial.step

    def _is_best(self, trial: Trial) -> bool:
        if trial.score is None:
            return False
        self._ranking.add(trial.score)
        key = self._ranking.key
        return self._best is None or key(trial) > key(self._best)

    def _standing(self) -> str:
        if self._best is None or self._best.score is None:
            return "no prompt yet"
        score = self._best.score
        waiting = "" if self._seen else "; waiting for answers"
        return f"best accuracy {score.accuracy:.2f}, loss {score.loss:.4f}{waiting}"

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            remark(sentence)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bar, on a terminal."""
        if not remarks.is_terminal:
            yield
            return
        with _shown(self._bar):
            self._bar.start_task(self._task)
            yield
