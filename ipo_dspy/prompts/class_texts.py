"""Text for each class: read from an answer, and put behind a filled template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ipo_dspy.errors import ArgumentError
from ipo_dspy.prompts.rules import clean
from ipo_dspy.prompts.wording import NOTHING_KNOWN
from ipo_dspy.records import hidden_character

ClassTexts: TypeAlias = Mapping[str, tuple[str, ...]]
"""Descriptions by class name, such as `with one curved handle`."""

_ENDS = " .;,"


def behind(text: str, description: str) -> str:
    """Put a description behind a filled template, within its last full stop."""
    end = "." if text.endswith(".") else ""
    return f"{text.rstrip(_ENDS)}, {description}{end}"


def read_descriptions(reply: str, most: int) -> tuple[str, ...]:
    """Take descriptions out of an answer: lines or a JSON list, without marks and repetitions.

    Args:
        reply: of a language model.
        most: how many are taken at most.

    Returns:
        None where the answer says that nothing is known.
    """
    read: dict[str, str] = {}
    for line in _lines(clean(reply)):
        text = clean(line).strip(_ENDS)
        is_lead = text.endswith(":") or text.lower() == NOTHING_KNOWN
        if text and not is_lead and hidden_character(text) is None:
            read.setdefault(text.casefold(), text)
    return tuple(read.values())[:most]


def checked_class_texts(texts: Mapping[str, Sequence[str]]) -> ClassTexts:
    """Check descriptions that a person gives.

    Raises:
        ArgumentError: one is no line of visible text.
    """
    checked = {}
    for name, descriptions in texts.items():
        if isinstance(descriptions, str):
            raise ArgumentError(f"Expected a list of descriptions of {name!r}, got a text.")
        for text in descriptions:
            if not text.strip() or len(text.splitlines()) > 1 or hidden_character(text):
                raise ArgumentError(
                    f"Expected one line of visible text as a description of {name!r}, got {text!r}."
                )
        checked[name] = tuple(text.strip().rstrip(_ENDS) for text in descriptions)
    return checked


def _lines(text: str) -> list[str]:
    if text.startswith("["):
        try:
            listed = json.loads(text)
        except json.JSONDecodeError:
            return text.splitlines()
        if isinstance(listed, list):
            return [line for item in listed for line in str(item).splitlines()]
    return text.splitlines()
