"""What a search found, in the shapes that DSPy's own optimizers use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy

from ipo_dspy.records import Call, Trial
from ipo_dspy.runs.budget import Spent
from ipo_dspy.scoring.ranking import Ranking

CANDIDATE_PROGRAMS = 10
"""How many of the best prompts come as programs in `candidate_programs`."""
_ATTRIBUTES = (
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


@dataclass(frozen=True)
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
    """

    trials: tuple[Trial, ...]
    best: Trial
    spent: Spent
    ended_by: str
    ranking: Ranking = field(default_factory=Ranking)
    ensemble: dspy.Module | None = None

    @property
    def ranked(self) -> list[Trial]:
        """The trials with a score, best first."""
        scored = [trial for trial in self.trials if trial.score is not None]
        return sorted(scored, key=self.ranking.key, reverse=True)

    @property
    def useless(self) -> Trial | None:
        """The last proposal, where there were some and none of them could be used."""
        proposals = [trial for trial in self.trials if trial.step > 0]
        if proposals and all(trial.counts_as_failure for trial in proposals):
            return proposals[-1]
        return None

    @property
    def prompts(self) -> list[str]:
        """The scored texts, best first."""
        return [trial.text for trial in self.ranked]


def detach_results(program: dspy.Module) -> None:
    """Take off what an earlier optimizer attached: it belongs to the program that one gave."""
    for name in _ATTRIBUTES:
        vars(program).pop(name, None)


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
    program.score = _percent(results.best)
    program.candidate_programs = candidates
    program.trial_logs = _logs(results)
    program.total_calls = program.prompt_model_total_calls = results.spent.calls
    program.detailed_results = results


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
