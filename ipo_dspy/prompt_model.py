"""One call of the prompt model: asked, answered, and kept before anything is done with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

from ipo_dspy.errors import PASSING_ERRORS, brief, stop_if_hopeless
from ipo_dspy.history import EventLog
from ipo_dspy.proposer import rollout_id
from ipo_dspy.records import Reply


class PromptModel:
    """A language model that proposes, with everything that makes its calls repeatable.

    Args:
        lm: the language model.
        proposer: a module with the fields of `ProposePrompt`, called with `config`.
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
        self._attempts: Counter[tuple[int, int]] = Counter()

    def count_earlier(self, replies: Sequence[Reply]) -> None:
        """Remember replies of an interrupted run: the same call again must be another call."""
        self._attempts.update((reply.step, reply.slot) for reply in replies)

    def ask(self, step: int, slot: int, inputs: Mapping[str, Any], log: EventLog) -> Reply:
        """Make one call; its reply is in the log before this returns.

        Raises:
            SearchStoppedError: no call of this model can succeed.
            JournalError: the reply cannot be kept.
        """
        number = rollout_id(self._seed, step, slot, self._attempts[step, slot])
        config = {"temperature": self._temperature, "rollout_id": number}
        if "seed" in self.lm.supported_params:
            config["seed"] = number
        text, failure = None, None
        with dspy.context(lm=self.lm, trace=None):
            try:
                text = str(self._proposer(**inputs, config=config).prompt)
            except AdapterParseError as error:
                # Small models answer well but miss the format; the rules decide on the bare text.
                text = error.lm_response
            except PASSING_ERRORS as error:
                stop_if_hopeless(error, self.lm)
                failure = brief(error)
        tokens, dollars = self._usage(number)
        reply = Reply(
            step=step, slot=slot, text=text, error=failure, tokens=tokens, dollars=dollars
        )
        log.append({"reply": reply.model_dump()})
        return reply

    def _usage(self, number: int) -> tuple[int | None, float | None]:
        """Tokens and dollars of the call with this rollout id, where DSPy knows them."""
        entries = [
            entry
            for entry in list(getattr(self.lm, "history", []))
            if (entry.get("kwargs") or {}).get("rollout_id") == number
        ]
        tokens = [(entry.get("usage") or {}).get("total_tokens") for entry in entries]
        dollars = [entry.get("cost") for entry in entries]
        return _sum(tokens), _sum(dollars)


def _sum(values: Sequence[Any]) -> Any:
    """Add what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None
