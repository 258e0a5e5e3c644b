"""All errors of the package, one tree; and which errors of a language model end a search."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NoReturn

import dspy
from dspy.utils.exceptions import (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMProviderError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
)

_HOPELESS = (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
    ImportError,
)
_NOT_FOUND = 404
_UNKNOWN_PROVIDER = "LLM Provider NOT provided"

_KEY_SHAPES = re.compile(
    r"(\b(?:sk|pk|rk|gsk|hf|xai|ghp|nvapi)[-_]|\bAIza|\bAKIA|\b(?:Bearer|Basic) +"
    r"|(?:key|token|secret|password)(?: provided)?['\"]?\s*[:=]\s*['\"]?|://[^/\s:@]*:)"
    r"[^\s'\",;@]{6,}",
    re.IGNORECASE,
)
_SECRET_NAME = re.compile("key|token|secret|password", re.IGNORECASE)
_LEAST_SECRET = 8
_MOST_CHARACTERS = 300


class IPOError(Exception):
    """The root of all errors that this package raises; the message tells a person what to do."""


class ArgumentError(IPOError, ValueError):
    """An argument or an option is not what was expected."""


class UnknownNameError(ArgumentError):
    """A name stands for nothing there is; the message has near matches."""


class InvalidTemplateError(ArgumentError):
    """A text is no CLIP template."""


class RefusedError(ArgumentError):
    """A proposal breaks a rule; the message says which one."""


class DataError(IPOError, ValueError):
    """The images, labels or folders given cannot be used as they are."""


class UnreadableImage(DataError):  # noqa: N818
    """One image cannot be opened or decoded in full."""


class EncoderError(IPOError, RuntimeError):
    """An encoder cannot be loaded, or cannot encode what it was given."""


class EvaluationError(IPOError, RuntimeError):
    """A program or a metric fails on too many examples to be scored."""


class JournalError(IPOError, RuntimeError):
    """A journal cannot be read, written, or belongs to another run."""


class UnknownIdentityError(ArgumentError):
    """Of something that decides a run it cannot be told whether it is the same another time."""


class StorageError(IPOError, OSError):
    """A file or a folder cannot be read or written; the message says which and why."""


class SearchStoppedError(IPOError, RuntimeError):
    """A search ended before its time; what was done is kept and can be resumed."""


def brief(error: BaseException, lm: dspy.BaseLM | None = None) -> str:
    """One line about an error, without keys.

    Masked are the keys of the language model, those in the environment, and what has the shape of
    one.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split())
    # What DSPy advises after this speaks of its own arguments, and is long.
    text = text.partition(" To fix: ")[0]
    for secret in _secrets(lm):
        text = text.replace(secret, "***")
    text = _KEY_SHAPES.sub(r"\1***", text)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."


def _secrets(lm: dspy.BaseLM | None) -> Iterator[str]:
    settings = {**os.environ, **getattr(lm, "kwargs", {})}
    for name, value in settings.items():
        if _SECRET_NAME.search(name) and isinstance(value, str) and len(value) >= _LEAST_SECRET:
            yield value


def stop_if_hopeless(error: BaseException, lm: dspy.BaseLM) -> None:
    """End the search if no later call can do better.

    Raises:
        SearchStoppedError: the key, the account, the model name, the address or the settings are
            wrong, or a package is missing.
    """
    missing = isinstance(error, LMProviderError) and error.status == _NOT_FOUND
    # DSPy has no error of its own for a provider that nobody knows.
    missing = missing or _UNKNOWN_PROVIDER in str(error)
    if missing or isinstance(error, _HOPELESS):
        stop(
            f"The language model {lm.model!r} cannot be used: {brief(error, lm).rstrip('.')}. "
            "Check its name and its key.",
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
