"""Which errors of a language model pass, and which end a search at once."""

from __future__ import annotations

import re
from typing import NoReturn

import dspy
from dspy.utils.exceptions import (
    DSPyError,
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMUnsupportedModelError,
)

PASSING_ERRORS = (DSPyError, OSError, RuntimeError)
"""What a call of a language model may raise without ending a search, unless it is hopeless."""

_HOPELESS = (LMAuthError, LMBillingError, LMConfigurationError, LMUnsupportedModelError)
_SECRET = re.compile(r"\b(sk|pk|key|Bearer)([-_ ])[\w-]{6,}", re.IGNORECASE)
_MOST_CHARACTERS = 300


class SearchStoppedError(RuntimeError):
    """A search ended before its time; what was done is kept and can be resumed."""


def brief(error: BaseException) -> str:
    """One line about an error, without what looks like a key."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = _SECRET.sub(r"\1\2***", text)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."


def stop_if_hopeless(error: BaseException, lm: dspy.BaseLM) -> None:
    """End the search if no later call can do better.

    Raises:
        SearchStoppedError: the key, the account, the model name or the settings are wrong.
    """
    if isinstance(error, _HOPELESS):
        stop(
            f"The language model {lm.model!r} cannot be used: {brief(error)}. Check its name and "
            "its key, then repeat the command; it goes on where it stopped.",
            error,
        )


def stop(message: str, cause: BaseException | None = None) -> NoReturn:
    """End the search with one sentence."""
    raise SearchStoppedError(message) from cause


NO_LANGUAGE_MODEL = (
    "No prompt model is configured. Pass IPOOptimizer(prompt_model=dspy.LM('openai/gpt-4o-mini')) "
    "or call dspy.configure(lm=...); without a key or a network, "
    "dspy.configure(lm=ipo_dspy.offline_lm()) proposes prompts offline."
)
