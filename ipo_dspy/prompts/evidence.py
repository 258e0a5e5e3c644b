"""How much speaks for the words of a template: descriptions of the images, and earlier prompts."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ipo_dspy.prompts.drafts import content_words

_PLAIN_OBJECT = "object"
_IMAGE_NUMBER = re.compile(r"^Image \d+: ")
_COUNTED = re.compile(r"([^\W\d][\w' -]*) \((\d+)\)")
_UNSEEN = 0.02
"""The weight of a word for which nothing speaks; keeps every word of the vocabulary possible."""

_TRUST = 5.0
"""How strongly success counts: a word that only the best prompts have weighs e**(_TRUST/2) more."""


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
    def of(cls, descriptions: Sequence[str], prompts: Sequence[str]) -> Evidence:
        """Weigh the words of descriptions and of prompts (worst first)."""
        described: dict[str, float] = {}
        phrases: dict[str, float] = {}
        for numbered in descriptions:
            description = _IMAGE_NUMBER.sub("", numbered)
            counted = _COUNTED.findall(description)
            if counted:
                most_often = max(int(count) for _, count in counted)
                for item, count in counted:
                    share = int(count) / most_often
                    phrases[item] = phrases.get(item, 0.0) + share
                    for word in set(content_words(item)) - {_PLAIN_OBJECT}:
                        described[word] = max(described.get(word, 0.0), share)
                continue
            listed = [item.strip(" .").lower() for item in description.split(",")]
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


def _success(prompts: Sequence[str]) -> dict[str, float]:
    """Compare the mean rank (0 worst, 1 best) of the prompts with a word with one half."""
    ranks: dict[str, list[float]] = {}
    for position, prompt in enumerate(prompts):
        rank = position / (len(prompts) - 1) if len(prompts) > 1 else 0.5
        for word in set(content_words(prompt)):
            ranks.setdefault(word, []).append(rank)
    # Half an observation at the mean keeps a word that was tried once from counting in full.
    return {word: sum(r - 0.5 for r in seen) / (len(seen) + 0.5) for word, seen in ranks.items()}


NOTHING_KNOWN = Evidence(seen={}, success={}, phrases=())
"""With it every word is equally likely."""
