"""How version 0.1 told runs apart, so that its journals go on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

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


STANDARD_META_PROMPTS = frozenset(
    {"a557c270c8ef3dce1500570bad686d52", "3a7481776e964aa8d5a80c826c56c749"}
)
"""How version 0.1 called its own meta-prompts with its own proposer."""
STANDARD = "standard"
"""Stands for whatever meta-prompt and proposer a version has of its own."""

_WORDS = {
    "seed": "another seed",
    "prompt_model": "another prompt model",
    "describer": "other descriptions of the images",
    "encoder": "another encoder",
    "encoder_weights": "other weights or another precision of the encoder",
    "class_names": "other class names",
    "demo_cache": "other demos in the cache",
    "training_images": "other examples for training",
    "validation_images": "other examples for validation",
    "initial": "another first prompt",
    "metric": "another metric",
    "program": "another program",
    "language_models": "another language model of the program",
    "prompts_per_step": "another number of prompts per step",
    "history_size": "another size of the history",
    "images_described": "another number of described images",
    "temperature": "another temperature",
    "steady": "another order of the calls (steady)",
    "meta_prompt": "another meta-prompt or proposer",
}
_TO_VOUCH_FOR = frozenset({"metric", "program", "meta_prompt"})


def differences_from_0_1(
    found: Mapping[str, Any], ours: Mapping[str, Any], is_vouched: bool
) -> list[str]:
    """Say in a person's words how a run of version 0.1 is another one.

    Args:
        found: the first line of its journal.
        ours: what that version would write now.
        is_vouched: whether the caller vouches for code, which that version could not always tell.
    """
    said = []
    for name, words in _WORDS.items():
        then, now = found.get(name), ours.get(name)
        if name == "meta_prompt" and now == STANDARD and then in STANDARD_META_PROMPTS:
            continue
        if then != now and not (is_vouched and name in _TO_VOUCH_FOR):
            said.append(words)
    return said
