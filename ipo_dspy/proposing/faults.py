"""Which errors of a language model pass, and which end a search at once."""

from __future__ import annotations

from urllib.parse import urlsplit

import dspy
from dspy.lm15 import LM15Error, LMRouter, MissingCredentialError
from dspy.utils.exceptions import (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMProviderError,
    LMRateLimitError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
)

from ipo_dspy.errors import ArgumentError, stop
from ipo_dspy.runs.masking import brief, mask
from ipo_dspy.upstream.dspy_parts import is_unknown_provider

_HOPELESS = (
    LMAuthError,
    LMBillingError,
    LMConfigurationError,
    LMUnsupportedFeatureError,
    LMUnsupportedModelError,
    ImportError,
)
_NOT_FOUND = 404

NO_LANGUAGE_MODEL = (
    "No prompt model is configured. Pass IPOOptimizer(prompt_model=dspy.LM('openai/gpt-4o-mini')) "
    "or call dspy.configure(lm=...); without a key or a network, "
    "dspy.configure(lm=ipo_dspy.offline_lm()) proposes prompts offline."
)
"""What to do where no language model is configured."""


def stop_if_hopeless(error: BaseException, lm: dspy.BaseLM) -> None:
    """End the search if no later call can do better.

    Raises:
        SearchStoppedError: the key, the account, the model name, the address or the settings are
            wrong, or a package is missing.
    """
    missing = isinstance(error, LMProviderError) and error.status == _NOT_FOUND
    missing = missing or is_unknown_provider(error)
    if missing or isinstance(error, _HOPELESS):
        stop(
            f"The language model {lm.model!r} cannot be used: {brief(error, lm).rstrip('.')}. "
            "Check its name and its key.",
            # A traceback would tell what the sentence masks.
            error if mask(str(error), lm) == str(error) else None,
        )


def check_key(lm: dspy.LM) -> None:
    """Refuse a model whose provider wants a key where there is none, without asking it.

    Raises:
        ArgumentError: no variable of the environment holds one.
    """
    if lm.kwargs.get("api_key") or lm.kwargs.get("api_base") or not isinstance(lm.engine, str):
        return
    provider, _, name = lm.model.partition("/")
    router = LMRouter()
    try:
        router.lm(f"{provider}:{name}")
    except MissingCredentialError as error:
        wanted = " or ".join(error.env_keys or ("its key",))
        raise ArgumentError(
            f"There is no key for the model {lm.model!r}; set {wanted} in the environment."
        ) from error
    except LM15Error:
        # Of other providers LiteLLM may know.
        return
    finally:
        router.close()


def advice(reason: str, otherwise: str) -> str:
    """What to do where call after call fails: one or two sentences.

    Args:
        reason: the last error, as `brief` writes it.
        otherwise: what to do where the reason says nothing of it.
    """
    if LMRateLimitError.__name__ in reason:
        return (
            "The server takes fewer calls than are made: wait until it takes more, or let fewer be "
            "out at once with num_threads=1 (--num-threads 1)."
        )
    return otherwise


def check_address(address: str | None) -> None:
    """Refuse the address of a server that no request could reach, before anything is paid for.

    Raises:
        ArgumentError: it is no http or https address with a host; secrets in it are not told.
    """
    if address is None:
        return
    try:
        parts = urlsplit(address)
        usable = (
            not any(map(str.isspace, address))
            and parts.scheme in ("http", "https")
            and bool(parts.hostname)
            and parts.port != 0
        )
    except ValueError:
        usable = False
    if not usable:
        raise ArgumentError(
            f"The address {mask(address)!r} cannot be used; write http:// or https://, a host, and "
            "where needed a port and a path, such as http://localhost:8000/v1."
        )
