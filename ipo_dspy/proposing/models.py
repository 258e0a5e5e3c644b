"""From what one types to a language model."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

import dspy
from dspy.utils.exceptions import DSPyError

from ipo_dspy import registry
from ipo_dspy.errors import ArgumentError
from ipo_dspy.proposing.faults import check_address
from ipo_dspy.runs.masking import mask

_logger = logging.getLogger(__name__)
_OFFLINE = "offline"


@dataclass(frozen=True)
class Connection:
    """How models are reached over the network; models in this process have none.

    Raises:
        ArgumentError: `api_base` is no address of a server, or has a user in it.

    Attributes:
        timeout: seconds to wait for one answer.
        num_retries: how often DSPy asks again after a timeout, a rate limit or a server's fault.
        api_base: address of the server; None takes the provider's own.
    """

    timeout: float = 45.0
    num_retries: int = 2
    api_base: str | None = None

    def __post_init__(self) -> None:
        check_address(self.api_base or None)
        if self.api_base and "@" in urlsplit(self.api_base).netloc:
            raise ArgumentError(
                f"The address {mask(self.api_base)!r} has a user in it, which DSPy takes for part "
                "of the host; leave it out, and give what the server asks for as the provider's "
                "key, such as OPENAI_API_KEY."
            )


def language_model(
    spec: str, *, trust_remote_code: bool = False, connection: Connection = Connection()
) -> dspy.LM:
    """Make the LM that proposes prompts.

    Args:
        spec: `offline`; `hf:NAME`, `hf:NAME@REVISION` or `hf:FOLDER`, run in this process; a name
            that a plug-in registered, with `:` and what it takes; or any model that `dspy.LM`
            knows, such as `anthropic/...` or `ollama_chat/...`.
        trust_remote_code: run model code that comes with the weights.
        connection: how the model is reached over the network.

    Raises:
        ArgumentError: the spec names no model.
    """
    return _lm(spec, connection, sees_images=False, trust_remote_code=trust_remote_code)


def vision_model(
    spec: str, *, trust_remote_code: bool = False, connection: Connection = Connection()
) -> dspy.LM:
    """Make the LM that describes images; see `language_model`.

    Raises:
        ArgumentError: the spec names no model, or one that sees no images.
    """
    if spec == _OFFLINE:
        raise ArgumentError(
            "the offline proposer sees no images; leave out the image model, and the encoder "
            "describes the images with a vocabulary"
        )
    return _lm(spec, connection, sees_images=True, trust_remote_code=trust_remote_code)


def _lm(
    spec: str, connection: Connection, *, sees_images: bool, trust_remote_code: bool
) -> dspy.LM:
    _warn_if_gone(spec)
    maker, colon, name = spec.partition(":")
    known = registry.names("models")
    if colon and maker in known and maker != _OFFLINE:
        make = registry.find("models", maker)
        lm: dspy.LM = make(name, sees_images=sees_images, trust_remote_code=trust_remote_code)
        return lm
    if spec == _OFFLINE:
        offline: dspy.LM = registry.find("models", _OFFLINE)()
        return offline
    if "/" not in spec:
        near = get_close_matches(spec, (*known, "vocabulary", "none"), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ArgumentError(
            f"{spec!r} names no model; {hint}write 'offline', 'hf:NAME', or PROVIDER/MODEL "
            "such as 'openai/gpt-4o-mini'"
        )
    try:
        return dspy.LM(spec, **_settings(spec, connection))
    except (ValueError, DSPyError) as error:
        raise ArgumentError(f"DSPy cannot use the model {spec!r}: {error}") from error


def _settings(spec: str, connection: Connection) -> dict[str, Any]:
    # An empty address would still count as one and decide how DSPy reaches the provider.
    settings = {name: value for name, value in asdict(connection).items() if value is not None}
    if connection.api_base is not None:
        # DSPy's cache does not tell servers apart, and would give one the answers of another.
        settings["cache"] = False
        if spec.startswith("openai/") and not os.environ.get("OPENAI_API_KEY"):
            # A server of one's own mostly asks for no key, but DSPy does.
            settings["api_key"] = "none"  # pragma: allowlist secret
    return settings


def _warn_if_gone(spec: str) -> None:
    for preset in registry.find("presets", "poster")():
        if spec == preset.original and not preset.is_served:
            _logger.warning("%s is gone: %s Use %r.", spec, preset.status, preset.use)
