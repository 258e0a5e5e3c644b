"""Reports from Python: of any program, and of a search while it goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TypeAlias

import dspy

from ipo_dspy.errors import ArgumentError, StorageError
from ipo_dspy.exports.photographs import Described
from ipo_dspy.exports.report import SECONDS_BETWEEN, Report, render
from ipo_dspy.exports.usage import ways
from ipo_dspy.images.labeled import LabeledImages
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.programs.metrics import Metric, clip_acc
from ipo_dspy.programs.predict import zero_shot_predictors
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE
from ipo_dspy.records import Trial
from ipo_dspy.runs.budget import Spent
from ipo_dspy.runs.folder import make_room, write_whole
from ipo_dspy.scoring.comparison import Comparison, compare_programs, prompts_text
from ipo_dspy.search.results import IPOResults

logger = logging.getLogger(__name__)

Examples: TypeAlias = LabeledImages | Sequence[dspy.Example]


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
        counts={f"images of {c.part}": f"{len(c.after.hits):,}" for c in comparisons},
        ways=ways(program.template, None) if isinstance(program, CLIPClassifier) else (),
        made=now(),
    )
    learned = _learned(program)
    write_whole(file, lambda unfinished: unfinished.write_text(render(report, learned), "utf-8"))
    return file


class LiveReport:
    """Draws a report anew while a search goes on: `IPOOptimizer(on_trial=LiveReport("r.html"))`.

    The page loads itself again until the search is over. A file that cannot be written is told in
    one warning, and ends no search.

    Args:
        path: the file, which is replaced.
        steps: steps of the search, to say how far it is.
        title: of the page.
        settings: names and values to state; no secrets.
        described: images with their descriptions, to show.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        steps: int | None = None,
        title: str = "A search for a prompt",
        settings: Mapping[str, str] | None = None,
        described: Sequence[Described] = (),
    ) -> None:
        self.path = Path(path)
        self._steps = steps
        self._title = title
        self._settings = settings or {}
        self._described = described
        self._trials: list[Trial] = []
        self._drawn_at: float | None = None
        self._failed = False

    def __call__(self, trial: Trial, spent: Spent) -> None:
        """Take note of a trial, and draw the page where the last time is long enough ago."""
        self._trials.append(trial)
        is_due = self._drawn_at is None or monotonic() - self._drawn_at >= SECONDS_BETWEEN / 2
        if is_due and not self._failed:
            self._draw(spent)
            self._drawn_at = monotonic()

    def _draw(self, spent: Spent) -> None:
        scored = [trial for trial in self._trials if trial.score is not None]
        if not scored:
            return
        best = max(scored, key=lambda trial: trial.rank)
        step = self._trials[-1].step
        report = Report(
            title=self._title,
            results=IPOResults(tuple(self._trials), best, spent, ""),
            settings=self._settings,
            described=self._described,
            made=now(),
            running=f"step {step}" + (f" of {self._steps}" if self._steps else ""),
        )
        try:
            make_room(self.path)
            write_whole(
                self.path, lambda unfinished: unfinished.write_text(render(report), "utf-8")
            )
        except StorageError as error:
            self._failed = True
            logger.warning("The report is not drawn while the search goes on: %s", error)


def now() -> str:
    """The date and the time, as people write them."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")


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
