"""What a search found, in the shapes that DSPy's own optimizers use."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy

from ipo_dspy.images.shown import cell, table
from ipo_dspy.records import Call, Trial
from ipo_dspy.runs.budget import Spent
from ipo_dspy.scoring.ranking import Ranking

logger = logging.getLogger(__name__)

CANDIDATE_PROGRAMS = 10
"""How many of the best prompts come as programs in `candidate_programs`."""
_OURS = "_attached_by_ipo_dspy"
"""Where a program keeps the names of the attributes that `attach` gave it."""
_OF_DSPY = (
    "score",
    "candidate_programs",
    "mb_candidate_programs",
    "trial_logs",
    "total_calls",
    "prompt_model_total_calls",
    "detailed_results",
    "results_best",
    "results_latest",
    "flag_compilation_error_occurred",
)
"""What DSPy's optimizers attach to the programs they give."""


@dataclass(frozen=True, repr=False)
class IPOResults:
    """What a search found; `program.detailed_results` holds one.

    Attributes:
        trials: all trials, in the order they were made.
        best: the trial that was kept.
        spent: calls, tokens and dollars.
        ended_by: the bound that ended the search.
        ranking: how trials were ordered, with the scale that was fitted to them.
        ensemble: the best prompts as one program, for use in place of the one that was found; see
            `join_best`. None where there are not two, or nobody asked.
        described: the found prompt with texts for each class, as a program for use in place of the
            one that was found; None where nobody asked, or nothing was said of any class.
        settings: what the search was made with, by name, for people to read.
    """

    trials: tuple[Trial, ...]
    best: Trial
    spent: Spent
    ended_by: str
    ranking: Ranking = field(default_factory=Ranking)
    ensemble: dspy.Module | None = None
    described: dspy.Module | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return (
            f"IPOResults({len(self.trials):,} prompts, best {self.best.text!r}, "
            f"ended by {self.ended_by!r})"
        )

    def _repr_html_(self) -> str:
        """The best prompts, for notebooks."""
        rows = [
            (cell(trial.text), cell(trial.score.accuracy), f"{self.ranking.loss(trial.score):.4f}")
            for trial in self.ranked[:CANDIDATE_PROGRAMS]
            if trial.score is not None
        ]
        title = f"{len(self.trials):,} prompts, the best ones on the training examples"
        return table(title, ("prompt", "accuracy", "loss"), rows)

    @property
    def ranked(self) -> list[Trial]:
        """The trials with a score, best first."""
        scored = [trial for trial in self.trials if trial.score is not None]
        return sorted(scored, key=self.ranking.key, reverse=True)

    @property
    def useless(self) -> Trial | None:
        """The prompt model's last proposal, where there were some and none could be used."""
        proposals = [trial for trial in self.trials if trial.step > 0 and not trial.edited]
        if proposals and all(trial.counts_as_failure for trial in proposals):
            return proposals[-1]
        return None

    @property
    def prompts(self) -> list[str]:
        """The scored texts, best first."""
        return [trial.text for trial in self.ranked]


def attach(program: dspy.Module, results: Mapping[str, Any]) -> None:
    """Give a program results by name; what it has of its own under such a name stays."""
    taken = [name for name in results if hasattr(program, name)]
    if taken:
        logger.warning(
            "%s has attributes of its own called %s, so these results are not attached to it.",
            type(program).__name__,
            ", ".join(taken),
        )
    names = [name for name in results if name not in taken]
    for name in names:
        setattr(program, name, results[name])
    setattr(program, _OURS, tuple(names))


def detach_results(program: dspy.Module) -> None:
    """Take off what optimizers attached to a program and to those in it, and nothing else.

    They are results for the texts that the programs had then.
    """
    for module in (program, *(module for _, module in program.named_sub_modules())):
        for name in _attached(module):
            vars(module).pop(name, None)


def _attached(program: dspy.Module) -> list[str]:
    """The names under which a program has results of an optimizer, ours or DSPy's."""
    own = vars(program)
    if _OURS in own:
        return [_OURS, *own[_OURS]]
    candidates = [program for name in _LISTS for program in _candidates(own, name)]
    if not candidates:
        is_of_gepa = type(own.get("detailed_results")).__module__.startswith("dspy.")
        return ["detailed_results"] if is_of_gepa else []
    # A program's own attributes are in the candidates too, which had no results yet.
    others = [vars(candidate) for candidate in candidates if candidate is not program]
    return [
        name
        for name in _OF_DSPY
        if name in own
        and (name in _LISTS or (others and not any(name in other for other in others)))
    ]


_LISTS = ("candidate_programs", "mb_candidate_programs")


def _candidates(attributes: Mapping[str, Any], name: str) -> list[dspy.Module]:
    """The programs in a list of candidates, as DSPy's optimizers attach it; else none."""
    listed = attributes.get(name)
    if not isinstance(listed, list):
        return []
    programs = [entry.get("program") for entry in listed if isinstance(entry, dict)]
    return [program for program in programs if isinstance(program, dspy.Module)]


def attach_results(program: dspy.Module, results: IPOResults) -> None:
    """Attach what other optimizers attach.

    These are `score`, `candidate_programs`, `trial_logs`, `total_calls`,
    `prompt_model_total_calls` and `detailed_results`. Each candidate program is what was scored:
    the prompt with those the other predictors then had.
    """
    texts = _texts_scored(results.trials)
    candidates = [
        {
            "score": _percent(trial),
            "program": _with_texts(program, texts[trial.call]),
            "instruction": trial.text,
        }
        for trial in results.ranked[:CANDIDATE_PROGRAMS]
    ]
    spent = results.spent
    attach(
        program,
        {
            "score": _percent(results.best),
            "candidate_programs": candidates,
            "trial_logs": _logs(results),
            "total_calls": spent.calls,
            "prompt_model_total_calls": spent.calls - spent.scoring_calls,
            "detailed_results": results,
        },
    )


def _texts_scored(trials: Sequence[Trial]) -> dict[Call, dict[str, str]]:
    """The texts of all predictors, by name, with which each trial was scored."""
    current: dict[str, str] = {}
    for trial in trials:
        if trial.step == 0:
            current.setdefault(trial.predictor, trial.text)
    texts: dict[Call, dict[str, str]] = {}
    ranking = Ranking(fitted=False)
    best: Trial | None = None
    for trial in trials:
        if trial.score is not None:
            texts[trial.call] = current | {trial.predictor: trial.text}
            if best is None or ranking.key(trial) > ranking.key(best):
                best, current = trial, texts[trial.call]
    return texts


def _with_texts(program: dspy.Module, texts: Mapping[str, str]) -> dspy.Module:
    candidate = program.deepcopy()
    for name, predictor in candidate.named_predictors():
        if name in texts:
            predictor.signature = predictor.signature.with_instructions(texts[name])
    return candidate


def _percent(trial: Trial) -> float | None:
    decisive = trial.validation or trial.score
    return decisive.accuracy if decisive else None


def _logs(results: IPOResults) -> dict[int, dict[str, Any]]:
    return {
        number: trial.model_dump(mode="json")
        | {"fitted_loss": results.ranking.loss(trial.score) if trial.score else None}
        for number, trial in enumerate(results.trials)
    }
