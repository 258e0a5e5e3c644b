"""Keeps secrets out of what is shown and written: keys, and what an address may hold."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import dspy

from ipo_dspy.upstream.dspy_parts import without_advice

MASK = "***"
_KEY_SHAPES = re.compile(
    r"(\b(?:sk|pk|rk|gsk|hf|xai|ghp|nvapi)[-_]|\bAIza|\bAKIA|\b(?:Bearer|Basic) +"
    r"|(?:key|token|secret|password)(?: provided)?['\"]?\s*[:=]\s*['\"]?)"
    r"[^\s'\",;@]{6,}",
    re.IGNORECASE,
)
_USER_OF_ADDRESS = re.compile(r"(://)[^/\s@'\"]+@")
_QUERY_OF_ADDRESS = re.compile(r"(://[^\s?'\"<>]+\?)[^\s'\"<>]+")
_SECRET_NAME = re.compile("key|token|secret|password|authorization", re.IGNORECASE)
_ADDRESS_NAME = re.compile("base|url|endpoint|proxy", re.IGNORECASE)
_LEAST_IN_ENVIRONMENT = 8
"""Shorter values in the environment are rather words than keys, save those of the models."""
_PLACEHOLDERS = frozenset({"dummy", "empty", "none", "null"})
"""What people give as a key to a server that asks for none."""
_MOST_CHARACTERS = 300


def brief(error: BaseException, lm: dspy.BaseLM | None = None) -> str:
    """One line about an error, without secrets; see `mask`."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = mask(without_advice(text), lm)
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "..."


def mask(text: str, lm: dspy.BaseLM | None = None) -> str:
    """Mask the secrets in a text.

    They are those that the language model is asked with, however short; keys in the environment;
    what has the shape of a key; and of every address the user, the password and the query.
    """
    text = mask_own(text, lm)
    for secret in _of_environment():
        text = text.replace(secret, MASK)
    text = _USER_OF_ADDRESS.sub(rf"\1{MASK}@", text)
    text = _QUERY_OF_ADDRESS.sub(rf"\1{MASK}", text)
    return _KEY_SHAPES.sub(rf"\1{MASK}", text)


def mask_own(text: str, lm: dspy.BaseLM | None = None) -> str:
    """Mask the secrets that a language model, and the configured one, are asked with."""
    for secret in sorted(_of_models(lm), key=len, reverse=True):
        # A short one may be part of a word that is none.
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", MASK, text)
    return text


def _of_models(lm: dspy.BaseLM | None) -> set[str]:
    import dspy

    found: set[str] = set()
    for model in (lm, dspy.settings.lm):
        found.update(_in_settings(getattr(model, "kwargs", {})))
        provider = re.sub(r"\W", "_", str(getattr(model, "model", "")).partition("/")[0]).upper()
        found.add(os.environ.get(f"{provider}_API_KEY", ""))
    return {each for each in found if each and each.lower() not in _PLACEHOLDERS}


def _in_settings(settings: object) -> Iterator[str]:
    """Find secrets by the names of settings, also of nested ones such as headers."""
    if not isinstance(settings, dict):
        return
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _in_settings(value)
        elif isinstance(value, str) and value and _SECRET_NAME.search(str(name)):
            yield value
            # `Authorization: Bearer KEY`: the key may come without its scheme.
            yield value.split()[-1]
        elif isinstance(value, str) and _ADDRESS_NAME.search(str(name)):
            yield from _in_address(value)


def _in_address(address: str) -> Iterator[str]:
    try:
        parts = urlsplit(address)
    except ValueError:
        return
    for part in (parts.username, parts.password, parts.query):
        if part:
            yield from {part, unquote(part)}


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _LEAST_IN_ENVIRONMENT:
            yield value
