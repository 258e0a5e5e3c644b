"""Runs one optimizer on one task to the end of its budget, and judges what it found."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import dspy
from dspy.utils.usage_tracker import UsageTracker

from benchmarks.judging import Judge, Verdict
from benchmarks.teleprompters.contestants import Contest, Run
from benchmarks.teleprompters.meter import BudgetSpentError, Meter
from ipo_dspy import clip_acc
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.task import Task
from ipo_dspy.optimizers.base import find_describer
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.proposing.describers import Describer
from ipo_dspy.proposing.describing import MOST_FAILURES, describe_images, spread_images
from ipo_dspy.runs.journal import NoJournal
from ipo_dspy.scoring.ranking import Ranking
from ipo_dspy.scoring.scorers import TensorScorer
from ipo_dspy.search.ensemble import differing

_TOGETHER = 5
"""So many texts are an ensemble."""

_DESCRIBED = 64
"""As many images at most as IPO describes."""


@dataclass(frozen=True)
class Outcome:
    """What one optimizer found on one seed.

    Attributes:
        text: of all templates it tried, the one that IPO would keep (see `Ranking`): the same rule
            for every optimizer.
        train: its training accuracy in percent.
        verdict: its test results.
        by_accuracy: test results of what DSPy's optimizers keep: the template with the highest
            training accuracy, the earliest of equals.
        ensemble: those of the best five together, by one rule for every optimizer.
        best_so_far: test H in percent after each call: of what was best in training until then.
        returned: test H in percent of the program that the optimizer gave at last; None where the
            budget ended it before.
        calls: calls of the language model.
        tokens: sent and received, where the language model tells.
        tried: how many different templates were tried.
        seconds: of the whole run.
    """

    text: str
    train: float
    verdict: Verdict
    by_accuracy: Verdict
    ensemble: Verdict
    best_so_far: tuple[float, ...]
    returned: float | None
    calls: int
    tokens: int
    tried: int
    seconds: float


@dataclass(frozen=True)
class Arena:
    """One task with its encoder, shared by all who compete on it.

    Attributes:
        make_lm: makes the language model anew for each run, so that no run depends on others.
        describer: describes the images to IPO; None takes its default.
        told: whether every optimizer's language model is told what IPO's is about the images.
    """

    task: Task
    embedder: Embedder
    judge: Judge
    budget: int
    make_lm: Callable[[], dspy.LM]
    describer: Describer | None = None
    told: bool = False

    def run(self, run: Run) -> Outcome:
        """Let an optimizer use its budget, beginning anew with other seeds while calls are left."""
        meter = Meter(self.budget)
        program = self._program()
        meter.note(program.template.text)
        lm = self.make_lm()
        about = self._descriptions() if self.told else ""
        contest = Contest(program, lm, meter, self.describer, self.task.seed, about)
        returned: dspy.Module | None = None
        with dspy.track_usage() as usage, dspy.context(lm=lm, callbacks=[meter], trace=None):
            for attempt in range(self.budget):
                calls = meter.calls
                try:
                    returned = run(replace(contest, seed=1000 * attempt + contest.seed))
                except BudgetSpentError:
                    break
                if meter.is_spent or meter.calls == calls:
                    break
        outcome = self._outcome(meter, program)
        return replace(outcome, returned=self._h(returned), tokens=_total(usage))

    def run_fixed(self, text: str) -> Outcome:
        """Judge a text without a search."""
        meter = Meter(self.budget)
        meter.note(text)
        return self._outcome(meter, self._program())

    def _descriptions(self) -> str:
        """What IPO's language model is told about the images, as one text."""
        program = self._program()
        images = spread_images(program.trainset or [], _DESCRIBED)
        describer = find_describer(self.describer, self.embedder)
        lines = describe_images(
            describer, images, program.classnames, NoJournal(), MOST_FAILURES, sum_up=True
        )
        return "\n".join(lines)

    def _program(self) -> CLIPClassifier:
        program = CLIPClassifier(self.task.train.classnames, self.embedder, self.task.template)
        program.data = self.task.train
        return program

    def _h(self, program: dspy.Module | None) -> float | None:
        if program is None:
            return None
        return self.judge.judge(program.template.text).accuracies[2]

    def _outcome(self, meter: Meter, program: CLIPClassifier) -> Outcome:
        seconds = time.perf_counter() - meter.started
        scorer = TensorScorer(program.predict, program.trainset or [], clip_acc)
        scores = scorer.score([tried.text for tried in meter.tried])
        bests = []
        ranking = Ranking()
        for index, score in enumerate(scores):
            ranking.add(score)
            # `max` and `sorted` leave the earlier of equals in front.
            bests.append(max(range(index + 1), key=lambda one: ranking.order(scores[one])))
        best = bests[-1]
        most_accurate = max(range(len(scores)), key=lambda one: scores[one].accuracy)
        ranked = sorted(
            range(len(scores)), key=lambda one: ranking.order(scores[one]), reverse=True
        )
        texts = [meter.tried[index].text for index in ranked]
        together = differing(program.predict, texts, _TOGETHER)
        verdicts = {index: self.judge.judge(meter.tried[index].text) for index in set(bests)}
        curve = [
            next(
                verdicts[best].accuracies[2]
                for tried, best in reversed(list(zip(meter.tried, bests, strict=True)))
                if tried.calls <= calls
            )
            for calls in range(self.budget + 1)
        ]
        return Outcome(
            text=meter.tried[best].text,
            train=scores[best].accuracy,
            verdict=verdicts[best],
            by_accuracy=self.judge.judge(meter.tried[most_accurate].text),
            ensemble=self.judge.judge(*together),
            best_so_far=tuple(curve),
            returned=None,
            calls=meter.calls,
            tokens=0,
            tried=len(meter.tried),
            seconds=seconds,
        )


def _total(usage: UsageTracker) -> int:
    return sum(
        int(of_model.get("total_tokens") or 0) for of_model in usage.get_total_tokens().values()
    )
