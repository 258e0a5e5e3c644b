"""The optimizers that are compared, each with its own defaults where the budget allows it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dspy

from benchmarks.teleprompters.meter import Meter
from benchmarks.teleprompters.told import telling
from ipo_dspy import (
    MIPROV2_SETTINGS,
    Budget,
    IPOOptimizer,
    NoDescriber,
    TemplateProposer,
    clip_acc,
    clip_prob,
)
from ipo_dspy.demo.proposer.offline import OfflineProposer
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.proposing.describers import Describer

Run = Callable[["Contest"], dspy.Module | None]
"""Tries templates until the budget of the contest's meter is spent; gives the program it found."""


@dataclass(frozen=True)
class Contest:
    """What an optimizer gets: a program with its training set, a metered LM, and a seed.

    `about` is what language models are told about the images, where every optimizer's is told;
    IPO's is anyway.
    """

    program: CLIPClassifier
    lm: dspy.LM
    meter: Meter
    describer: Describer | None
    seed: int
    about: str = ""

    @property
    def informed_lm(self) -> dspy.LM:
        """The model, which is told about the images where every optimizer's is."""
        return telling(self.lm, self.about) if self.about else self.lm

    @property
    def trainset(self) -> list[dspy.Example]:
        """The training examples."""
        return self.program.trainset or []


def ipo(contest: Contest) -> dspy.Module:
    """IPO with its defaults."""
    return _ipo(contest)


def ipo_evolve(contest: Contest) -> dspy.Module:
    """IPO that also tries edits of the best templates, which take no calls."""
    return _ipo(contest, strategy="evolve")


def ipo_without_history(contest: Contest) -> dspy.Module:
    """IPO whose prompt model sees no earlier prompts."""
    return _ipo(contest, history_size=0)


def ipo_without_descriptions(contest: Contest) -> dspy.Module:
    """IPO whose prompt model is told nothing about the images."""
    return _ipo(contest, describer=NoDescriber())


def _ipo(contest: Contest, **settings: Any) -> dspy.Module:
    optimizer = IPOOptimizer(
        metric=clip_acc,
        prompt_model=contest.lm,
        budget=Budget(calls=contest.meter.budget),
        steps=math.ceil(contest.meter.budget / 5),
        seed=contest.seed,
        on_trial=lambda trial, spent: contest.meter.note(trial.text) if trial.score else None,
        **{"describer": contest.describer, **settings},
    )
    return optimizer.compile(contest.program)


def copro(contest: Contest) -> dspy.Module:
    """COPRO with its defaults, less deep where the budget does not allow them."""
    # Much deeper, DSPy 3.4.1's signatures nest beyond Python's recursion limit.
    depth = min(3, math.ceil(contest.meter.budget / 10))
    optimizer = dspy.COPRO(
        prompt_model=contest.informed_lm, metric=clip_acc, breadth=10, depth=depth
    )
    return optimizer.compile(
        contest.program,
        trainset=contest.trainset,
        eval_kwargs={"num_threads": 1, "display_progress": False},
    )


def mipro(contest: Contest) -> dspy.Module:
    """MIPROv2 that searches instructions alone, with `MIPROV2_SETTINGS`.

    As its authors have it, `auto` is as heavy as the budget allows. Where the offline proposer
    answers, the two calls for each program that describe it are left out: it says nothing there.
    """
    optimizer = dspy.MIPROv2(
        metric=clip_acc,
        prompt_model=contest.informed_lm,
        task_model=contest.lm,
        auto=next(auto for auto, calls in _AUTO.items() if contest.meter.budget >= calls),
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        num_threads=1,
        seed=contest.seed,
    )
    reads_programs = not isinstance(contest.lm.engine, OfflineProposer)
    return optimizer.compile(
        contest.program,
        trainset=contest.trainset,
        valset=contest.trainset,
        **{**MIPROV2_SETTINGS, "program_aware_proposer": reads_programs},
    )


_AUTO: Mapping[str, int] = {"heavy": 100, "medium": 50, "light": 0}
"""Settings of MIPROv2 and from how many calls on."""


def gepa(contest: Contest) -> dspy.Module:
    """GEPA with `TemplateProposer` and the metric's feedback, until the budget is spent."""
    optimizer = dspy.GEPA(
        metric=clip_acc,
        reflection_lm=contest.informed_lm,
        instruction_proposer=TemplateProposer(contest.program),
        max_metric_calls=60 * contest.meter.budget,
        num_threads=1,
        seed=contest.seed,
    )
    return optimizer.compile(contest.program, trainset=contest.trainset, valset=contest.trainset)


def simba(contest: Contest) -> dspy.Module:
    """SIMBA with its defaults; the probability is its metric, as 0 and 1 alone teach it nothing."""
    optimizer = dspy.SIMBA(
        metric=clip_prob,
        bsize=min(32, len(contest.trainset)),
        prompt_model=contest.informed_lm,
        num_threads=1,
    )
    return optimizer.compile(contest.program, trainset=contest.trainset, seed=contest.seed)


def infer_rules(contest: Contest) -> dspy.Module:
    """InferRules; one call of the language model for each candidate."""
    optimizer = dspy.InferRules(metric=clip_acc, num_candidates=contest.meter.budget, num_threads=1)
    with dspy.context(lm=contest.informed_lm):
        return optimizer.compile(
            contest.program, trainset=contest.trainset, valset=contest.trainset
        )


TELEPROMPTERS: dict[str, Run] = {
    "IPO": ipo,
    "COPRO": copro,
    "MIPROv2": mipro,
    "GEPA": gepa,
    "SIMBA": simba,
    "InferRules": infer_rules,
    "IPO, evolve": ipo_evolve,
    "IPO without history": ipo_without_history,
    "IPO without descriptions": ipo_without_descriptions,
}
"""Name to optimizer, in the order of the table."""
