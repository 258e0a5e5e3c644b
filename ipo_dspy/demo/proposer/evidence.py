"""What a request says about earlier prompts and about the images."""

from __future__ import annotations

import json
import math
import re
from statistics import fmean, pstdev
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from ipo_dspy.demo.proposer.drafts import Draft, content_words
from ipo_dspy.prompts.template import SLOT
from ipo_dspy.proposing.reading import Asked
from ipo_dspy.records import ScoredPrompt

_HISTORY = TypeAdapter(list[ScoredPrompt])
_COPRO_TEXT = re.compile(r"Instruction #(\d+): (.*?)\s*»", re.DOTALL)
_COPRO_SCORE = re.compile(r"Resulting Score #(\d+): ([\d.]+)")
_MIPRO_LINE = re.compile(r"^(.+?) \| Score: ([\d.]+)", re.MULTILINE)
_FENCED = re.compile(r"```\n?(.*?)\n?```", re.DOTALL)
_OF_A_TEXT = re.compile(r"instruction|prompt", re.IGNORECASE)
_IMAGE_NUMBER = re.compile(r"^Image \d+: ")
_COUNTED = re.compile(r"([^\W\d][\w' -]*) \((\d+)\)")
_PLAIN_OBJECT = "object"
_UNSEEN = 0.02
"""The weight of a word for which nothing speaks; keeps every word of the vocabulary possible."""

_TRUST = 5.0
"""How strongly success counts: a word that only the best prompts have weighs e**(_TRUST/2) more."""


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
        return [history[index].prompt for index in _by_merit(history)]
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
    lines = [line.strip(" \t\"'«»") for line in asked.text.splitlines()]
    return [line for line in _with_slot(lines) if Draft.parse(line)]


def _with_slot(texts: Sequence[str]) -> list[str]:
    return [text for text in texts if text.count(SLOT) == 1]


@dataclass(frozen=True)
class Evidence:
    """How much speaks for a word.

    Attributes:
        seen: word to weight in the image descriptions; 1 is the most frequent.
        success: word to how much better than the rest the prompts with it were, -0.5 to 0.5.
        phrases: short phrases that descriptions list, most frequent first.
    """

    seen: Mapping[str, float]
    success: Mapping[str, float]
    phrases: tuple[str, ...]

    @classmethod
    def read(cls, asked: Asked, prompts: Sequence[str]) -> Evidence:
        """Weigh the words of descriptions and of prompts (worst first)."""
        described: dict[str, float] = {}
        phrases: dict[str, float] = {}
        for description in _descriptions(asked):
            counted = _COUNTED.findall(description)
            listed = [item.strip(" .").lower() for item in description.split(",")]
            if counted:
                most_often = max(int(count) for _, count in counted)
                for item, count in counted:
                    share = int(count) / most_often
                    phrases[item] = phrases.get(item, 0.0) + share
                    for word in set(content_words(item)) - {_PLAIN_OBJECT}:
                        described[word] = max(described.get(word, 0.0), share)
                continue
            is_list = len(listed) > 1 and all(0 < len(item.split()) <= 4 for item in listed)
            for rank, item in enumerate(listed if is_list else [description]):
                weight = 1 / (1 + rank)
                for word in set(content_words(item)) - {_PLAIN_OBJECT}:
                    described[word] = described.get(word, 0.0) + weight
                if is_list:
                    phrases[item] = phrases.get(item, 0.0) + weight
        most = max(described.values(), default=1.0)
        return cls(
            {word: weight / most for word, weight in described.items()},
            _success(prompts),
            tuple(
                phrase
                for phrase in sorted(phrases, key=lambda phrase: -phrases[phrase])
                if _PLAIN_OBJECT not in phrase
            ),
        )

    def weight(self, phrase: str) -> float:
        """How much speaks for a phrase, above 0: the mean over its words."""
        words = content_words(phrase)
        if not words:
            return _UNSEEN
        seen = sum(self.seen.get(word, 0.0) for word in words) / len(words)
        success = sum(self.success.get(word, 0.0) for word in words) / len(words)
        return (_UNSEEN + seen) * math.exp(_TRUST * success)


def _by_merit(history: Sequence[ScoredPrompt]) -> list[int]:
    """Order prompts, worst first, by accuracy and loss, which count alike."""
    accuracies = _standardised([row.accuracy for row in history])
    losses = _standardised([row.loss for row in history])
    merits = [accuracy - loss for accuracy, loss in zip(accuracies, losses, strict=True)]
    return sorted(range(len(history)), key=merits.__getitem__)


def _standardised(values: Sequence[float]) -> list[float]:
    mean, deviation = fmean(values), pstdev(values)
    return [(value - mean) / deviation if deviation else 0.0 for value in values]


def _success(prompts: Sequence[str]) -> dict[str, float]:
    """Compare the mean rank (0 worst, 1 best) of the prompts with a word with one half."""
    ranks: dict[str, list[float]] = {}
    for position, prompt in enumerate(prompts):
        rank = position / (len(prompts) - 1) if len(prompts) > 1 else 0.5
        for word in set(content_words(prompt)):
            ranks.setdefault(word, []).append(rank)
    # Half an observation at the mean keeps a word that was tried once from counting in full.
    return {word: sum(r - 0.5 for r in seen) / (len(seen) + 0.5) for word, seen in ranks.items()}


def _descriptions(asked: Asked) -> list[str]:
    for name, value in asked.inputs.items():
        if "description" not in name or not value.startswith("["):
            continue
        try:
            texts = json.loads(value)
        except json.JSONDecodeError:
            continue
        return [_IMAGE_NUMBER.sub("", str(text)) for text in texts]
    return []
