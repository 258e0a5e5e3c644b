"""One question to a language model: its answer, or the error that came instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import dspy
from dspy.utils.exceptions import AdapterParseError

from ipo_dspy.masking import brief, mask_own
from ipo_dspy.prompts.rules import without_reasoning
from ipo_dspy.proposing.faults import stop_if_hopeless

NO_ANSWER = "it gave no answer"


class Answer(NamedTuple):
    """A text, or the error that came instead of one."""

    text: str | None = None
    error: str | None = None


class _AnswerAdapter(dspy.ChatAdapter):
    """Reads the answer alone: what a model thought before may hold drafts in the format asked."""

    def parse(self, signature: type[dspy.Signature], completion: str) -> dict[str, Any]:
        """Parse what comes after the reasoning."""
        fields: dict[str, Any] = super().parse(signature, without_reasoning(completion))
        return fields


def ask(lm: dspy.BaseLM, module: dspy.Module, field: str, inputs: Mapping[str, Any]) -> Answer:
    """Call a module with a language model and take one field of what it gives.

    An answer that misses the format is taken as it is: small models often answer well but without
    it. So DSPy's usual adapter makes no second call for JSON; a configured adapter does as it does.

    Raises:
        SearchStoppedError: no call of this language model can succeed.
    """
    adapter = dspy.settings.adapter or _AnswerAdapter(use_json_adapter_fallback=False)
    with dspy.context(lm=lm, adapter=adapter, trace=None):
        try:
            prediction = module(**inputs)
        except AdapterParseError as error:
            # The empty answer is told from others by its message alone.
            if "empty or null response" in error.message:
                return Answer(error=NO_ANSWER)
            return Answer(text=mask_own(error.lm_response, lm))
        # A user's language model or proposer may raise anything; failures in a row end a search.
        except Exception as error:  # noqa: BLE001
            stop_if_hopeless(error, lm)
            return Answer(error=brief(error, lm))
    # Of a response without choices, DSPy makes a prediction without fields.
    is_empty = isinstance(prediction, dspy.Prediction) and not prediction.keys()
    value = None if is_empty else getattr(prediction, field)
    return Answer(error=NO_ANSWER) if value is None else Answer(text=mask_own(str(value), lm))
