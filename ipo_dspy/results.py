"""What a search found, in the shapes that DSPy's own optimizers use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dspy

from ipo_dspy.budget import Spent
from ipo_dspy.records import Trial

CANDIDATE_PROGRAMS = 10
"""How many of the best prompts come as programs in `candidate_programs`."""
_ATTRIBUTES = ("score", "candidate_programs", "trial_logs", "total_calls", "detailed_results")


@dataclass(frozen=True)
class IPOResults:
    """What a search found; `program.detailed_results` holds one.

    Attributes:
        trials: all trials, by predictor and then in order.
        best: the trial that was kept.
        spent: calls, tokens and dollars.
        ended_by: the bound that ended the search.
    """

    trials: tuple[Trial, ...]
    best: Trial
    spent: Spent
    ended_by: str

    @property
    def ranked(self) -> list[Trial]:
        """The trials with a score, best first."""
        scored = [trial for trial in self.trials if trial.score is not None]
        return sorted(scored, key=lambda trial: trial.rank, reverse=True)

    @property
    def prompts(self) -> list[str]:
        """The scored texts, best first."""
        return [trial.text for trial in self.ranked]


def detach_results(program: dspy.Module) -> None:
    """Take off what an earlier search attached: it belongs to that search's program."""
    for name in _ATTRIBUTES:
        vars(program).pop(name, None)


def attach_results(program: dspy.Module, results: IPOResults) -> None:
    """Attach `score`, `candidate_programs`, `trial_logs`, `total_calls` and `detailed_results`.

    Each candidate program is the found one with one predictor's text replaced.
    """
    candidates = [_candidate(program, trial) for trial in results.ranked[:CANDIDATE_PROGRAMS]]
    program.score = candidates[0]["score"]
    program.candidate_programs = candidates
    program.trial_logs = _logs(results.trials)
    program.total_calls = results.spent.calls
    program.detailed_results = results


def _candidate(program: dspy.Module, trial: Trial) -> dict[str, Any]:
    candidate = program.deepcopy()
    predictor = dict(candidate.named_predictors())[trial.predictor]
    predictor.signature = predictor.signature.with_instructions(trial.text)
    decisive = trial.validation or trial.score
    return {
        "score": decisive.accuracy if decisive else None,
        "program": candidate,
        "instruction": trial.text,
    }


def _logs(trials: Sequence[Trial]) -> dict[int, dict[str, Any]]:
    return {number: trial.model_dump(mode="json") for number, trial in enumerate(trials)}
