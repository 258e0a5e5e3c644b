"""The trials so far, and what an interrupted run left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from ipo_dspy.errors import ArgumentError
from ipo_dspy.records import Call, Reply, ScoredPrompt, State, Trial


class History:
    """The trials of one predictor's search, in the order they were made."""

    def __init__(self) -> None:
        self._trials: list[Trial] = []
        self._texts: set[str] = set()

    def add(self, trial: Trial) -> None:
        """Remember one trial."""
        self._trials.append(trial)
        if trial.state is State.OK:
            self._texts.add(folded(trial.text))

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)

    def __contains__(self, text: str) -> bool:
        """Tell whether a text was scored before; letter case and outer spaces do not matter."""
        return folded(text) in self._texts

    @property
    def scored(self) -> list[Trial]:
        """The trials that have a score, in the order they were made."""
        return [trial for trial in self._trials if trial.state is State.OK]

    def shown(self, size: int) -> list[ScoredPrompt]:
        """The best `size` trials by training score, and the initial one; worst first, best last.

        Nothing where `size` is 0.
        """
        ranked = sorted(self.scored, key=_training_rank)
        first_shown = len(ranked) - size
        return [
            _shown(trial)
            for place, trial in enumerate(ranked)
            if size and (place >= first_shown or trial.step == 0)
        ]

    def refusals(self, size: int) -> list[tuple[str, str]]:
        """The latest `size` different texts that were refused, each with its reason."""
        latest: dict[str, str] = {}
        for trial in reversed(self._trials):
            if trial.state is State.INVALID:
                latest.setdefault(trial.text, trial.reason)
        return list(latest.items())[:size]


def folded(text: str) -> str:
    """Write a text so that two that count as one are equal."""
    # CLIP's tokenizers lower-case, so texts that differ in case alone are one prompt.
    return " ".join(text.lower().split())


def _training_rank(trial: Trial) -> tuple[float, float]:
    if trial.score is None:
        raise ArgumentError("Only trials with a score have a rank.")
    return trial.score.rank


def _shown(trial: Trial) -> ScoredPrompt:
    if trial.score is None:
        raise ArgumentError("Only trials with a score can be shown.")
    return ScoredPrompt(
        prompt=trial.text, loss=round(trial.score.loss, 4), accuracy=round(trial.score.accuracy, 2)
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
        """The trials at the end that say that the prompt model does not work."""
        latest = reversed(self.trials.values())
        return list(takewhile(lambda trial: trial.counts_as_failure, latest))
