"""Short names for long content, by which a run knows whether it is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from types import CodeType

import dspy
import orjson

from ipo_dspy.images.examples import image_of
from ipo_dspy.images.image import content_hash


def fingerprint(examples: Sequence[dspy.Example]) -> str:
    """Hash the content of examples; images count by content, not by where they lie."""
    parts = []
    for example in examples:
        image = image_of(example)
        fields = {
            key: content_hash(value) if value is image else repr(value)
            for key, value in example.items()
        }
        parts.append(repr(sorted(fields.items())))
    return digest(parts)


def digest(parts: Sequence[str]) -> str:
    """Hash texts, in order: 32 hexadecimal digits."""
    return hashlib.blake2b(orjson.dumps(list(parts)), digest_size=16).hexdigest()


def callable_name(function: Callable[..., object]) -> str:
    """Name a function so that another one of the same name is told apart by its code."""
    name = str(getattr(function, "__name__", type(function).__name__))
    code = getattr(function, "__code__", None)
    return name if code is None else f"{name} {digest(_code_parts(code))[:8]}"


def _code_parts(code: CodeType) -> list[str]:
    constants = [
        "".join(_code_parts(constant)) if isinstance(constant, CodeType) else repr(constant)
        for constant in code.co_consts
    ]
    return [code.co_code.hex(), *code.co_names, *constants]
