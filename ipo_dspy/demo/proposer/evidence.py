"""What a request says about earlier prompts and about the images."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from ipo_dspy.prompts.drafts import Draft
from ipo_dspy.prompts.template import SLOT
from ipo_dspy.proposing.reading import IMAGES_LOOK_LIKE, Asked
from ipo_dspy.records import ScoredPrompt
from ipo_dspy.scoring.ranking import by_merit

_HISTORY = TypeAdapter(list[ScoredPrompt])
_COPRO_TEXT = re.compile(r"Instruction #(\d+): (.*?)\s*»", re.DOTALL)
_COPRO_SCORE = re.compile(r"Resulting Score #(\d+): ([\d.]+)")
_MIPRO_LINE = re.compile(r"^(.+?) \| Score: ([\d.]+)", re.MULTILINE)
_FENCED = re.compile(r"```\n?(.*?)\n?```", re.DOTALL)
_OF_A_TEXT = re.compile(r"instruction|prompt", re.IGNORECASE)


def earlier_prompts(asked: Asked) -> list[str]:
    """The prompts that a request shows, worst first and best last where it gives scores."""
    for read in (_scored_history, _scored_by_copro, _scored_by_mipro, _current, _templates):
        if prompts := read(asked):
            return prompts
    return []


def _scored_history(asked: Asked) -> list[str]:
    """The prompts of a field that holds a list of `ScoredPrompt`."""
    for value in asked.inputs.values():
        if not value.startswith("[{"):
            continue
        try:
            history = _HISTORY.validate_json(value)
        except ValidationError:
            continue
        return [
            history[place].prompt for place in by_merit([(r.accuracy, r.loss) for r in history])
        ]
    return []


def _scored_by_copro(asked: Asked) -> list[str]:
    scores = dict(_COPRO_SCORE.findall(asked.text))
    prompts = [(n, text) for n, text in _COPRO_TEXT.findall(asked.text) if n in scores]
    return [text for _, text in sorted(prompts, key=lambda pair: float(scores[pair[0]]))]


def _scored_by_mipro(asked: Asked) -> list[str]:
    lines = _MIPRO_LINE.findall(asked.inputs.get("previous_instructions", ""))
    prompts = [text for text, _ in sorted(lines, key=lambda pair: float(pair[1]))]
    return [*_current(asked), *prompts] if prompts else []


def _current(asked: Asked) -> list[str]:
    """The one prompt that is to be improved."""
    named = [
        text
        for name, text in asked.inputs.items()
        if _OF_A_TEXT.search(name) and name != "meta_prompt" and text
    ]
    fenced = [match[1] for match in [_FENCED.search(asked.text)] if match]
    return (_with_slot(named) or named or _with_slot(fenced) or fenced)[:1]


def _templates(asked: Asked) -> list[str]:
    """Lines anywhere that read like a template."""
    # What stands in a list was refused.
    told = [line for line in asked.text.splitlines() if not line.startswith("- ")]
    lines = [line.strip(" \t\"'«»") for line in told]
    return [line for line in _with_slot(lines) if Draft.parse(line)]


def _with_slot(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if text.count(SLOT) == 1]


def descriptions(asked: Asked) -> list[str]:
    """The descriptions of images that a request shows."""
    for name, value in asked.inputs.items():
        if "description" not in name or not value.startswith("["):
            continue
        try:
            texts = json.loads(value)
        except json.JSONDecodeError:
            continue
        return [str(text) for text in texts]
    _, _, told = asked.text.partition(f"\n{IMAGES_LOOK_LIKE}\n")
    return told.splitlines()
