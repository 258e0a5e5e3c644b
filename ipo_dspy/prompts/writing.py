"""Writes prompt templates: new ones from words, edits and crossings of earlier ones."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ipo_dspy.prompts.drafts import (
    FORMS,
    LINKS,
    MOST_WORDS,
    PLACES,
    Draft,
    content_words,
    reads_well,
)
from ipo_dspy.prompts.evidence import Evidence
from ipo_dspy.prompts.template import SLOT
from ipo_dspy.prompts.vocabulary import VOCABULARY

_ATTEMPTS = 100
_NEW = 0.1
"""The least share of drafts that are new rather than made from earlier prompts."""

_EDITED = ("medium", "medium", "medium", "link", "form", "extra", *PLACES)
"""Where an edit may fall; the medium matters most to an encoder."""

_CROSSED = 0.3
"""The chance that a template is crossed with another one rather than edited."""

_MOST_PHRASES = 2
"""More phrases beside the medium fit the few training images rather than the medium."""

_USUAL_FORM = 0.6
"""The chance that a new draft has the usual form without a draw among all."""

_BEST_FIRST = 0.4
"""The chance to take the best earlier prompt rather than go on to the next."""

_HOW_OFTEN: Mapping[str, float] = {
    "style": 0.3,
    "colour": 0.15,
    "look": 0.15,
    "material": 0.15,
    "setting": 0.3,
    "lighting": 0.1,
    "viewpoint": 0.1,
}
"""How often a new draft has a phrase in each place."""

_MEDIUM_NOUNS = frozenset(phrase.split()[-1] for phrase in VOCABULARY["media"])
_KNOWN = frozenset(phrase for group in VOCABULARY.values() for phrase in group)


class TemplateWriter:
    """Writes templates whose words are weighed by evidence.

    Args:
        prompts: earlier templates, worst first.
        evidence: what speaks for each word.
        chance: the source of every choice.
        share_of_new: the least share of templates that are new rather than made from earlier ones.
    """

    def __init__(
        self,
        prompts: Sequence[str],
        evidence: Evidence,
        chance: random.Random,
        share_of_new: float = _NEW,
    ) -> None:
        self._parents = [text for text in prompts if text.count(SLOT) == 1]
        self._evidence = evidence
        self._chance = chance
        self._share_of_new = share_of_new
        self._phrases = _phrases_by_place(evidence)

    def write(self, is_refused: Callable[[str], bool], most_words: int = MOST_WORDS) -> str:
        """Write a template of at most `most_words` words that reads well and is not refused.

        Where no attempt succeeds it is the shortest one.
        """
        for _ in range(_ATTEMPTS):
            text = self._text()
            if reads_well(text, most_words) and not is_refused(text):
                return text
        return Draft(medium="", form="bare").render()

    def _text(self) -> str:
        # While there is little to learn from, most drafts are new.
        share_of_new = max(self._share_of_new, 0.9 - 0.08 * len(self._parents))
        if not self._parents or self._chance.random() < share_of_new:
            return self._new().render()
        one, other = self._parent(), self._parent()
        draft, second = Draft.parse(one), Draft.parse(other)
        if draft is None:
            return self._reworded(one, other)
        if second is not None and one != other and self._chance.random() < _CROSSED:
            return self._simple(self._cross(draft, second)).render()
        draft = self._edit(draft)
        return self._simple(self._edit(draft) if self._chance.random() < 0.4 else draft).render()

    def _simple(self, draft: Draft) -> Draft:
        """Leave out phrases that are too many."""
        kept = self._chance.sample(draft.phrases(), min(_MOST_PHRASES, len(draft.phrases())))
        return draft.only(kept)

    def _reworded(self, text: str, other: str) -> str:
        """Change a text that cannot be taken apart: cross it, or drop, replace or add words."""
        head, _, tail = text.partition(SLOT)
        kind = self._chance.random()
        if kind < _CROSSED and text != other:
            heads, tails = (head, other.partition(SLOT)[0]), (tail, other.partition(SLOT)[2])
            return self._chance.choice(
                [f"{heads[0]}{SLOT}{tails[1]}", f"{heads[1]}{SLOT}{tails[0]}"]
            )
        words = [word for word in content_words(text) if word in text]
        if words and kind < 0.7:
            gone = self._chance.choice(words)
            others = [w for prompt in self._parents for w in content_words(prompt)]
            new = self._chance.choice(others) if kind < 0.5 and others else ""
            around = [re.sub(rf"\b{re.escape(gone)}\b", new, part) for part in (head, tail)]
            return _tidy(SLOT.join(around))
        place = self._chance.choice(["setting", "lighting", "viewpoint", "medium"])
        return _tidy(f"{text.rstrip(' .!')}, {self._choose(place)}.")

    def _new(self) -> Draft:
        places = [place for place in PLACES if self._chance.random() < _HOW_OFTEN[place]]
        draft = Draft(medium=self._choose("medium"), link=self._link(), form=self._form())
        return replace(draft, **{place: self._choose(place) for place in places[:2]})

    def _form(self) -> str:
        return FORMS[0] if self._chance.random() < _USUAL_FORM else self._chance.choice(FORMS)

    def _link(self) -> str:
        return LINKS[0] if self._chance.random() < 0.8 else self._chance.choice(LINKS)

    def _parent(self) -> str:
        for text in reversed(self._parents):
            if self._chance.random() < _BEST_FIRST:
                return text
        return self._parents[-1]

    def _edit(self, draft: Draft) -> Draft:
        """Insert, replace or delete one phrase."""
        place = self._chance.choice(_EDITED)
        if place == "link":
            return replace(draft, link=self._link())
        if place == "form":
            return replace(draft, form=self._chance.choice(FORMS))
        if place == "medium" or not getattr(draft, place) or self._chance.random() < 0.6:
            return replace(draft, **{place: self._choose(place)})
        return replace(draft, **{place: ""})

    def _cross(self, one: Draft, other: Draft) -> Draft:
        """Take each phrase from one of two drafts."""
        taken = {
            place: getattr(self._chance.choice([one, other]), place)
            for place in ("medium", "link", "form", "extra", *PLACES)
        }
        return Draft(**taken)

    def _choose(self, place: str) -> str:
        phrases = self._phrases[place]
        if not phrases:
            return ""
        weights = [self._evidence.weight(phrase) for phrase in phrases]
        return self._chance.choices(phrases, weights)[0]


def _tidy(text: str) -> str:
    """Mend what a dropped word leaves: two blanks, or one before a comma or a full stop."""
    text = re.sub(r"\s+([,.;:!])", r"\1", " ".join(text.split()))
    return re.sub(r"([,;:])[,.;:\s]*([,.;:])", r"\2", text)


def _phrases_by_place(evidence: Evidence) -> dict[str, Sequence[str]]:
    new = [phrase for phrase in evidence.phrases if phrase not in _KNOWN]
    materials = VOCABULARY["materials"]
    return {
        "medium": [
            *VOCABULARY["media"],
            *(phrase for phrase in new if phrase.split()[-1] in _MEDIUM_NOUNS),
        ],
        "style": VOCABULARY["styles"],
        "colour": VOCABULARY["colours"],
        "look": [*VOCABULARY["colours"], *VOCABULARY["styles"]],
        "material": [f"{how} {what}" for what in materials for how in ("in", "made of")],
        "setting": VOCABULARY["setting"],
        "lighting": VOCABULARY["lighting"],
        "viewpoint": VOCABULARY["viewpoint"],
        "extra": [phrase for phrase in new if phrase.split()[-1] not in _MEDIUM_NOUNS],
    }
