"""Writes prompt templates: new ones from words, edits and crossings of earlier ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ipo_dspy.prompts.drafts import LINKS, MOST_WORDS, PLACES, Draft, reads_well
from ipo_dspy.prompts.evidence import Evidence
from ipo_dspy.prompts.vocabulary import VOCABULARY

_ATTEMPTS = 100
_NEW = 0.4
"""The least share of drafts that are new rather than made from earlier prompts."""

_EDITED = ("medium", "medium", "medium", "link", "extra", *PLACES)
"""Where an edit may fall; the medium matters most to an encoder."""

_MOST_PHRASES = 2
"""More phrases beside the medium fit the few training images rather than the medium."""

_BEST_FIRST = 0.6
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
        prompts: earlier templates, worst first; those that cannot be taken apart serve as evidence
            only.
        evidence: what speaks for each word.
        chance: the source of every choice.
    """

    def __init__(self, prompts: Sequence[str], evidence: Evidence, chance: random.Random) -> None:
        self._parents = [draft for text in prompts if (draft := Draft.parse(text))]
        self._evidence = evidence
        self._chance = chance
        self._phrases = _phrases_by_place(evidence)

    def write(self, is_known: Callable[[str], bool], most_words: int = MOST_WORDS) -> str:
        """Write a template of at most `most_words` words that reads well and is not known yet."""
        text = Draft(medium="photo").render()
        for _ in range(_ATTEMPTS):
            draft = self._draft()
            text = draft.render()
            is_simple = len(draft.phrases()) <= _MOST_PHRASES
            if is_simple and reads_well(text, most_words) and not is_known(text):
                return text
        return text

    def _draft(self) -> Draft:
        # While there is little to learn from, most drafts are new.
        share_of_new = max(_NEW, 0.9 - 0.1 * len(self._parents))
        if not self._parents or self._chance.random() < share_of_new:
            return self._new()
        if len(self._parents) > 1 and self._chance.random() < 0.3:
            return self._cross(self._parent(), self._parent())
        draft = self._edit(self._parent())
        return self._edit(draft) if self._chance.random() < 0.4 else draft

    def _new(self) -> Draft:
        places = [place for place in PLACES if self._chance.random() < _HOW_OFTEN[place]]
        draft = Draft(medium=self._choose("medium"), link=self._link())
        return replace(draft, **{place: self._choose(place) for place in places[:2]})

    def _link(self) -> str:
        return LINKS[0] if self._chance.random() < 0.8 else self._chance.choice(LINKS)

    def _parent(self) -> Draft:
        for draft in reversed(self._parents):
            if self._chance.random() < _BEST_FIRST:
                return draft
        return self._parents[-1]

    def _edit(self, draft: Draft) -> Draft:
        """Insert, replace or delete one phrase."""
        place = self._chance.choice(_EDITED)
        if place == "link":
            return replace(draft, link=self._link())
        if place == "medium" or not getattr(draft, place) or self._chance.random() < 0.6:
            return replace(draft, **{place: self._choose(place)})
        return replace(draft, **{place: ""})

    def _cross(self, one: Draft, other: Draft) -> Draft:
        """Take each phrase from one of two drafts."""
        taken = {
            place: getattr(self._chance.choice([one, other]), place)
            for place in ("medium", "link", "extra", *PLACES)
        }
        return Draft(**taken)

    def _choose(self, place: str) -> str:
        phrases = self._phrases[place]
        if not phrases:
            return ""
        weights = [self._evidence.weight(phrase) for phrase in phrases]
        return self._chance.choices(phrases, weights)[0]


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
