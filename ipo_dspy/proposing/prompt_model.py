"""One call of the prompt model: asked, answered, and kept before anything is done with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from ipo_dspy.proposing.ask import Endpoint
from ipo_dspy.proposing.proposer import rollout_id
from ipo_dspy.records import Call, Reply
from ipo_dspy.runs.journal import EventLog
from ipo_dspy.runs.meter import measured


class PromptModel:
    """A language model that proposes, with everything that makes its calls repeatable.

    Args:
        lm: the language model.
        proposer: a module with the fields of `ProposePrompt`; it calls the configured model.
        temperature: of every call; None leaves it to the model.
        seed: numbers the calls, so that a repeated search makes the same ones.
        send_seed: send the number as seed, where DSPy says that the model takes one.
    """

    def __init__(
        self,
        lm: dspy.BaseLM,
        proposer: dspy.Module,
        temperature: float | None,
        seed: int,
        send_seed: bool = True,
    ) -> None:
        self.lm = lm
        self._endpoint = Endpoint(lm)
        self._proposer = proposer
        self._temperature = temperature
        self._seed = seed
        self._sends_seed = send_seed and "seed" in lm.supported_params
        self._attempts: Counter[Call] = Counter()

    def count_earlier(self, replies: Sequence[Reply]) -> None:
        """Remember replies of an interrupted run: the same call again must be another call."""
        self._attempts.update(reply.call for reply in replies)

    def ask(self, step: int, slot: int, inputs: Mapping[str, Any], log: EventLog) -> Reply:
        """Make one call; its reply is in the log before this returns.

        Raises:
            SearchStoppedError: no call of this model can succeed.
            OutOfTimeError: the time of the run is up.
            JournalError: the reply cannot be kept.
        """

        def note(reason: str) -> None:
            log.append({"retry": {"step": step, "slot": slot, "reason": reason}})

        number = rollout_id(self._seed, step, slot, self._attempts[step, slot])
        with measured() as meter:
            answer = self._endpoint.ask(
                self._proposer, "prompt", inputs, self._parameters(number), note
            )
        cost = meter.cost
        reply = Reply(
            step=step,
            slot=slot,
            text=answer.text,
            error=answer.error,
            tokens=cost.tokens,
            dollars=cost.dollars,
        )
        log.append({"reply": reply.model_dump()})
        return reply

    def _parameters(self, number: int) -> dict[str, Any]:
        """The parameters of one call; its number keeps equal requests apart in DSPy's cache."""
        seed = {"seed": number} if self._sends_seed else {}
        return {"temperature": self._temperature, "rollout_id": number, **seed}
