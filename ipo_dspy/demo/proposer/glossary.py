"""What the offline proposer knows of classes: the demo's, from a small glossary."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from ipo_dspy.prompts.wording import NOTHING_KNOWN
from ipo_dspy.proposing.reading import Asked

FACETS: Mapping[str, re.Pattern[str]] = {
    "outline": re.compile(r"\b(?:outlines?|shapes?|forms?|looks?)\b", re.IGNORECASE),
    "parts": re.compile(r"\b(?:parts?|features?|details?|identify|looks?)\b", re.IGNORECASE),
    "colours": re.compile(r"\b(?:colou?rs?|materials?|looks?)\b", re.IGNORECASE),
    "use": re.compile(r"\b(?:uses?|used|places?|found|purpose|caption)\b", re.IGNORECASE),
}
"""The facets of the glossary, and the words of an instruction that ask for each."""
CLASS, OTHERS = "class_name", "confused_with"
_INPUTS = re.compile(r"\[\[ ## \w+ ## \]\].*", re.DOTALL)
_OBJECTIVE = "your objective is:"


def knows_how(asked: Asked) -> bool:
    """Tell whether a class is to be described."""
    return CLASS in asked.inputs and any(field.name == "descriptions" for field in asked.fields)


def describe(asked: Asked) -> str:
    """Describe a class in the facets that the instruction names, one phrase a line.

    What would be said of a class that it is confused with comes last. An instruction that names no
    facet gets all of them, and a class that is not in the glossary `none`. Questions are answered
    by a sentence, unless they ask for features.
    """
    name = asked.inputs[CLASS].strip().lower()
    entry = glossary().get(name)
    if entry is None:
        return NOTHING_KNOWN
    instruction = _instruction(asked)
    facets = [facet for facet, words in FACETS.items() if words.search(instruction)]
    phrases = [phrase for facet in facets or FACETS for phrase in entry[facet]]
    shared = {
        phrase
        for other, of_other in glossary().items()
        if other != name and other in asked.inputs.get(OTHERS, "").lower()
        for listed in of_other.values()
        for phrase in listed
    }
    ordered = sorted(phrases, key=shared.__contains__)
    question = asked.inputs.get("question", "features")
    return "\n".join(ordered) if "features" in question else f"A {name}, {', '.join(ordered)}."


@cache
def glossary() -> Mapping[str, Mapping[str, list[str]]]:
    """The facts, by class name and facet."""
    return tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))


def _instruction(asked: Asked) -> str:
    """What is asked for: a question, or the objective without inputs and field descriptions."""
    if "question" in asked.inputs:
        return asked.inputs["question"]
    _, _, objective = asked.text.partition(_OBJECTIVE)
    return _INPUTS.sub("", objective)
