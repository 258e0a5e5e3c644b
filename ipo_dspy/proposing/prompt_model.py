"""One call of the prompt model: asked, answered, and kept before anything is done with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dspy

from ipo_dspy.proposing.ask import ask
from ipo_dspy.proposing.proposer import rollout_id
from ipo_dspy.records import Call, Reply
from ipo_dspy.runs.journal import EventLog


class PromptModel:
    """A language model that proposes, with everything that makes its calls repeatable.

    Args:
        lm: the language model.
        proposer: a module with the fields of `ProposePrompt`; it calls the configured model.
        temperature: of every call.
        seed: numbers the calls, so that a repeated search makes the same ones.
    """

    def __init__(
        self, lm: dspy.BaseLM, proposer: dspy.Module, temperature: float, seed: int
    ) -> None:
        self.lm = lm
        self._proposer = proposer
        self._temperature = temperature
        self._seed = seed
        self._takes_seed = "seed" in lm.supported_params
        self._attempts: Counter[Call] = Counter()

    def count_earlier(self, replies: Sequence[Reply]) -> None:
        """Remember replies of an interrupted run: the same call again must be another call."""
        self._attempts.update(reply.call for reply in replies)

    def ask(self, step: int, slot: int, inputs: Mapping[str, Any], log: EventLog) -> Reply:
        """Make one call; its reply is in the log before this returns.

        Raises:
            SearchStoppedError: no call of this model can succeed.
            JournalError: the reply cannot be kept.
        """
        settings = self._settings(rollout_id(self._seed, step, slot, self._attempts[step, slot]))
        # A copy has its own history: that of this call, while others are out at the same time.
        lm = self.lm.copy(**settings)
        with dspy.track_usage() as usage:
            answer = ask(lm, self._proposer, "prompt", inputs)
        for entry in lm.history:
            entry["kwargs"] = {**settings, **entry["kwargs"]}
        self.lm.history.extend(lm.history)
        reply = Reply(
            step=step,
            slot=slot,
            text=answer.text,
            error=answer.error,
            tokens=_tokens(usage.get_total_tokens().values()),
            dollars=_dollars(lm.history),
        )
        log.append({"reply": reply.model_dump()})
        return reply

    def _settings(self, number: int) -> dict[str, Any]:
        """The settings of one call; its number keeps equal requests apart in DSPy's cache."""
        seed = {"seed": number} if self._takes_seed else {}
        return {"temperature": self._temperature, "rollout_id": number, **seed}


def _tokens(usages: Iterable[Mapping[str, Any]]) -> int | None:
    """Sum the tokens of a call's usage, by model; None where none is known."""
    known = [usage["total_tokens"] for usage in usages if usage.get("total_tokens") is not None]
    return sum(known) if known else None


def _dollars(calls: Sequence[Mapping[str, Any]]) -> float | None:
    """Sum what calls cost; None where one is unknown. Answers of DSPy's cache have no usage."""
    costs = [call["cost"] for call in calls if call["usage"]]
    return sum(costs) if costs and None not in costs else None
