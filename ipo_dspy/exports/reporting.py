"""Reports from Python: of any program, and of a search while it goes on."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self, TypeAlias

import dspy

from ipo_dspy.errors import ArgumentError, IPOError, StorageError
from ipo_dspy.errors.arguments import Count, checked
from ipo_dspy.exports.report import SECONDS_BETWEEN, Report, render
from ipo_dspy.exports.usage import ways
from ipo_dspy.images.labeled import LabeledImages, LeftOut
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.programs.metrics import Metric, clip_acc
from ipo_dspy.programs.predict import zero_shot_predictors
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE
from ipo_dspy.records import Trial
from ipo_dspy.runs.budget import Spent
from ipo_dspy.runs.folder import make_room, write_whole
from ipo_dspy.scoring.comparison import Comparison, compare_programs, prompts_text
from ipo_dspy.scoring.ranking import Ranking
from ipo_dspy.search.results import IPOResults

logger = logging.getLogger(__name__)

_SHARE = 20
"""The search goes on for so many times as long as a drawing took."""
Examples: TypeAlias = LabeledImages | Sequence[dspy.Example]


@checked
def write_report(
    program: dspy.Module,
    path: str | Path,
    tests: Examples | Mapping[str, Examples] | None = None,
    *,
    before: dspy.Module | None = None,
    metric: Metric = clip_acc,
    title: str = "",
    settings: Mapping[str, str] | None = None,
    remarks: Sequence[str] = (),
) -> Path:
    """Write the report of a program as one HTML file: prompts, figures, images that changed.

    Args:
        program: any program; one that `IPOOptimizer` gave also tells how it was found.
        path: the file, which is replaced.
        tests: unseen images or examples, or several sets of them by name, to compare `before` and
            the program on; None compares nothing.
        before: the program that the optimizer was given; None takes this one with the texts that
            its search began with, or for a classifier without a search `a photo of a <CLASS>.`
        metric: a DSPy metric, from 0 to 1; an example counts as right from one half on.
        title: of the page.
        settings: names and values to state; no secrets.
        remarks: sentences to state.

    Raises:
        ArgumentError: there are tests, and no program to compare with.
        EvaluationError: a program or the metric fails on too many examples.
        StorageError: the file cannot be written.
    """
    file = Path(path)
    make_room(file)
    results = getattr(program, "detailed_results", None)
    if not isinstance(results, IPOResults):
        results = None
    comparisons: list[Comparison] = []
    if tests is not None:
        first = before or _before(program, results)
        comparisons = [
            compare_programs(name, first, program, _examples(examples), metric)
            for name, examples in _by_name(tests).items()
        ]
    report = Report(
        title=title or f"The prompts of {type(program).__name__}",
        results=results,
        comparisons=comparisons,
        settings=settings or {},
        remarks=remarks,
        prompt=prompts_text(program),
        counts=_counts(program, comparisons),
        ways=ways(program, None) if isinstance(program, CLIPClassifier) else (),
        made=now(),
    )
    learned = _learned(program)
    write_whole(file, lambda unfinished: unfinished.write_text(render(report, learned), "utf-8"))
    return file


@checked
class LiveReport:
    """Draws a report anew while a search goes on, and an open page follows.

    `with LiveReport("r.html") as page: IPOOptimizer(on_trial=page).compile(program)`. A file that
    cannot be written is told in one warning, and ends no search.

    Args:
        path: the file, which is replaced.
        steps: steps of the search, to say how far it is.
        title: of the page.
        settings: names and values to state; no secrets.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        steps: Count | None = None,
        title: str = "A search for a prompt",
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._report = Report(title=title, settings=settings or {})
        self._of_all = f" of {steps}" if steps else ""
        self._trials: list[Trial] = []
        self._spent: Spent | None = None
        self._due_at = 0.0
        self._drawn: tuple[int, int] | None = None
        self._has_failed = False

    def __enter__(self) -> Self:
        """Draw a page before there is a trial, unless there is one from another time."""
        if not self.path.exists():
            self._draw(running="images are read and described")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What somebody else wrote there meanwhile is the last word.
        if self._drawn is not None and self._drawn == _version_of(self.path):
            told = "" if error is None else str(error) if isinstance(error, IPOError) else ""
            self._draw(stopped=told or ("" if kind is None else kind.__name__))

    def __call__(self, trial: Trial, spent: Spent) -> None:
        """Take note of a trial, and draw the page where the last time is long enough ago."""
        self._trials.append(trial)
        self._spent = spent
        began = monotonic()
        if began >= self._due_at:
            self._draw(running=f"step {trial.step}{self._of_all}")
            # Drawing very many trials takes a while, and the search waits for it.
            took = monotonic() - began
            self._due_at = monotonic() + max(SECONDS_BETWEEN / 2, _SHARE * took)

    def _draw(self, *, running: str = "", stopped: str = "") -> None:
        if self._has_failed:
            return
        report = replace(
            self._report, results=self._results, made=now(), running=running, stopped=stopped
        )
        try:
            make_room(self.path)
            write_whole(
                self.path, lambda unfinished: unfinished.write_text(render(report), "utf-8")
            )
            self._drawn = _version_of(self.path)
        except StorageError as error:
            self._has_failed = True
            logger.warning("The report is not drawn while the search goes on: %s", error)

    @property
    def _results(self) -> IPOResults | None:
        scored = [trial for trial in self._trials if trial.score is not None]
        if not scored or self._spent is None:
            return None
        ranking = Ranking.of(trial.score for trial in scored if trial.score is not None)
        best = max(scored, key=ranking.key)
        return IPOResults(tuple(self._trials), best, self._spent, "", ranking)


def _version_of(file: Path) -> tuple[int, int] | None:
    """What tells a file from one that replaces it; None where there is none."""
    try:
        found = file.stat()
        return found.st_ino, found.st_mtime_ns
    except OSError:
        return None


def now() -> str:
    """The date and the time, as people write them."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def reasons(left_out: Sequence[LeftOut]) -> str:
    """Say how many files were left out, by reason."""
    counted = Counter(each.reason for each in left_out)
    return ", ".join(f"{count:,} {reason}" for reason, count in counted.most_common()) or "none"


def _counts(program: dspy.Module, comparisons: Sequence[Comparison]) -> dict[str, str]:
    """How many images there were, as far as the program knows."""
    data = getattr(program, "data", None)
    known = {}
    if isinstance(data, LabeledImages):
        known = {
            "images that came with the program": f"{len(data):,} of {len(data.classnames)} classes",
            "files left out": reasons(data.left_out),
            "copies among them": f"{len(data) - len(data.without_copies()):,}",
        }
    return known | {f"examples of {c.part}": f"{len(c.after.hits):,}" for c in comparisons}


def _by_name(tests: Examples | Mapping[str, Examples]) -> Mapping[str, Examples]:
    return tests if isinstance(tests, Mapping) else {"held-out images": tests}


def _examples(examples: Examples) -> Sequence[dspy.Example]:
    return examples.examples if isinstance(examples, LabeledImages) else examples


def _before(program: dspy.Module, results: IPOResults | None) -> dspy.Module:
    first = program.deepcopy()
    if results is not None:
        texts = {trial.predictor: trial.text for trial in results.trials if trial.step == 0}
    else:
        texts = {name: DEFAULT_TEMPLATE.text for name in zero_shot_predictors(program)}
    if not texts:
        raise ArgumentError(
            "There is nothing to compare the program with: pass before=, the program that the "
            "optimizer was given."
        )
    for name, predictor in first.named_predictors():
        if name in texts:
            predictor.signature = predictor.signature.with_instructions(texts[name])
    return first


def _learned(program: dspy.Module) -> str:
    """The words nearest to learned vectors; empty where nothing was learned."""
    return "\n".join(
        f"{predictor.learned.nearest_words(predictor.embedder)}"
        for predictor in zero_shot_predictors(program).values()
        if predictor.learned is not None
    )
