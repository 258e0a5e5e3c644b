"""One question to a language model: its answer, or the error that came instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import dspy
from dspy.utils.exceptions import AdapterParseError, DSPyError

from ipo_dspy.errors import brief, stop_if_hopeless

LM_ERRORS = (DSPyError, OSError, RuntimeError, ImportError)
"""What a call of a language model may raise.

DSPy turns whatever an engine or a provider raises into a `DSPyError` (`dspy.clients.errors`) and
lets missing packages through; language models written as subclasses of `dspy.BaseLM` raise
connection errors as they are.
"""
NO_ANSWER = "it gave no answer"


class Answer(NamedTuple):
    """A text, or the error that came instead of one."""

    text: str | None = None
    error: str | None = None


def ask(lm: dspy.BaseLM, module: dspy.Module, field: str, inputs: Mapping[str, Any]) -> Answer:
    """Call a module with a language model and take one field of what it gives.

    An answer that misses the format is taken as it is: small models often answer well but without
    it. So DSPy's usual adapter makes no second call for JSON; a configured adapter does as it does.

    Raises:
        SearchStoppedError: no call of this language model can succeed.
    """
    adapter = dspy.settings.adapter or dspy.ChatAdapter(use_json_adapter_fallback=False)
    with dspy.context(lm=lm, adapter=adapter, trace=None):
        try:
            prediction = module(**inputs)
            # Of a response without choices, DSPy makes a prediction without fields.
            is_empty = isinstance(prediction, dspy.Prediction) and not prediction.keys()
            value = None if is_empty else getattr(prediction, field)
        except AdapterParseError as error:
            # The empty answer is told from others by its message alone.
            value = None if "empty or null response" in error.message else error.lm_response
        except LM_ERRORS as error:
            stop_if_hopeless(error, lm)
            return Answer(error=brief(error, lm))
    return Answer(error=NO_ANSWER) if value is None else Answer(text=str(value))
