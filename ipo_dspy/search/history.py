"""The trials so far, and what an interrupted run left."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from ipo_dspy.errors import ArgumentError
from ipo_dspy.records import Call, Reply, Score, ScoredPrompt, State, Trial
from ipo_dspy.scoring.ranking import Ranking


class History:
    """The trials of one predictor's search, in the order they were made.

    Args:
        keeps_case: whether texts that differ in letter case alone are different ones.
        fit_scale: order trials by what is no luck of their accuracy, and by the loss at a scale
            that is fitted to them; see `Ranking`.

    Attributes:
        ranking: how the trials are ordered.
        is_in_percent: whether all accuracies lie between 0 and 100, as with metrics of 0 to 1.
    """

    def __init__(self, *, keeps_case: bool = False, fit_scale: bool = True) -> None:
        self._keeps_case = keeps_case
        self.ranking = Ranking(fitted=fit_scale)
        self._trials: list[Trial] = []
        self._texts: set[str] = set()
        # Those with a score, in order; where equal, the earlier one comes first in both.
        self._worst_first: list[Trial] = []
        self._best_first: list[Trial] = []
        self.is_in_percent = True

    def add(self, trial: Trial) -> bool:
        """Remember one trial; tells whether the order of the earlier ones may have changed."""
        self._trials.append(trial)
        if trial.state is State.OK:
            self._texts.add(self.folded(trial.text))
        if trial.score is None:
            return False
        self.is_in_percent &= 0.0 <= trial.score.accuracy <= 100.0
        reordered = self.ranking.add(trial.score)
        self._rank(trial, reordered)
        return reordered

    def _rank(self, trial: Trial, reordered: bool) -> None:
        if reordered:
            scored = [one for one in self._trials if one.score is not None]
            self._worst_first = sorted(scored, key=self._order)
            self._best_first = sorted(scored, key=self._order_from_best)
        else:
            insort(self._worst_first, trial, key=self._order)
            insort(self._best_first, trial, key=self._order_from_best)

    def _order(self, trial: Trial) -> tuple[float, float]:
        return self.ranking.order(_score_of(trial))

    def _order_from_best(self, trial: Trial) -> tuple[float, float]:
        accuracy, loss = self._order(trial)
        return -accuracy, -loss

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)

    def __contains__(self, text: str) -> bool:
        """Tell whether a text was scored before; blanks do not matter."""
        return self.folded(text) in self._texts

    def folded(self, text: str) -> str:
        """Write a text so that two that count as one are equal."""
        return " ".join((text if self._keeps_case else text.lower()).split())

    @property
    def scored(self) -> list[Trial]:
        """The trials that have a score, in the order they were made."""
        return [trial for trial in self._trials if trial.state is State.OK]

    def shown(self, size: int, worst: int = 0) -> list[ScoredPrompt]:
        """The best `size` trials by training score, and the first one; worst first, best last.

        The `worst` ones come before them. The loss shown is the one that ranks. Nothing where
        `size` is 0.
        """
        if not size:
            return []
        lowest = self._worst_first[:worst]
        best = self._worst_first[max(len(lowest), len(self._worst_first) - size) :]
        known = {id(trial) for trial in (*lowest, *best)}
        # Where it is neither, it lies between them.
        first = [one for one in self._trials[:1] if one.score and id(one) not in known]
        together = [*lowest, *first, *best]
        return [_shown(trial.text, _score_of(trial), self.ranking) for trial in together]

    def losers(self, shown: int, size: int) -> list[str]:
        """The best `size` texts that `shown(shown)` leaves out, best first."""
        if not shown:
            return []
        some = self._best_first[shown : shown + size + 1]
        return [trial.text for trial in some if trial is not self._trials[0]][:size]

    def refusals(self, size: int, among: int) -> list[tuple[str, str]]:
        """The latest `size` different texts refused in the last `among` trials, with reasons."""
        latest: dict[str, str] = {}
        for trial in self._trials[: -among - 1 : -1]:
            if trial.state is State.INVALID and not trial.edited:
                latest.setdefault(trial.text, trial.reason)
        return list(latest.items())[:size]


def _score_of(trial: Trial) -> Score:
    if trial.score is None:
        raise ArgumentError(f"A trial that is {trial.state.value} has no rank.")
    return trial.score


def _shown(text: str, score: Score, ranking: Ranking) -> ScoredPrompt:
    return ScoredPrompt(
        prompt=text, loss=round(ranking.loss(score), 4), accuracy=round(score.accuracy, 2)
    )


class Past:
    """What an interrupted run left: replies and trials by call, in the order they were made."""

    def __init__(self) -> None:
        self.replies: dict[Call, Reply] = {}
        self.trials: dict[Call, Trial] = {}
        self.all_replies: list[Reply] = []

    def add(self, event: Mapping[str, Any]) -> None:
        """Take up one event of the journal; `again` names calls to make once more."""
        if "reply" in event:
            reply = Reply.model_validate(event["reply"])
            self.replies[reply.call] = reply
            self.all_replies.append(reply)
        elif "trial" in event:
            trial = Trial.model_validate(event["trial"])
            self.trials[trial.call] = trial
        for step, slot in event.get("again", ()):
            self.replies.pop((step, slot), None)
            self.trials.pop((step, slot), None)

    def in_order(self) -> list[Reply]:
        """The replies as they were settled, and then those that were not."""
        settled = [self.replies[call] for call in self.trials if call in self.replies]
        return settled + self.unsettled()

    def unsettled(self) -> list[Reply]:
        """The replies of which there is no trial."""
        return [reply for call, reply in self.replies.items() if call not in self.trials]

    def useless(self) -> list[Trial]:
        """The trials at the end that say that the prompt model does not work, and edits between."""
        latest = reversed(self.trials.values())
        return list(takewhile(lambda trial: trial.counts_as_failure or trial.edited, latest))
