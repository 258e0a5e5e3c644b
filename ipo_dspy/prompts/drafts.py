"""Prompt templates taken apart into phrases, so that they can be edited and stay readable."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from ipo_dspy.prompts.template import SLOT
from ipo_dspy.prompts.vocabulary import VOCABULARY

PLACES = ("style", "colour", "look", "material", "setting", "lighting", "viewpoint")
"""The optional phrases: two in front of the medium, one in front of the class, four at the end."""

MOST_WORDS = 20
"""A template with more words than this reads badly, and encoders attend less to each of them."""

FORMS = ("of", "name first", "name last", "bare")
"""How a template is built: a MEDIUM of a <CLASS>; <CLASS>, MEDIUM; MEDIUM: <CLASS>; no medium."""

LINKS = ("of a", "of one", "of the", "showing a")
# fmt: off
_EMPTY_WORDS = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "by", "for", "from", "has", "in", "is", "it",
    "its", "of", "on", "one", "or", "that", "the", "their", "there", "this", "to", "was",
    "with", "image", "picture", "showing", "depicting",
})
# fmt: on
_BEFORE_NOUN = frozenset(VOCABULARY["styles"]) | frozenset(VOCABULARY["colours"])
_MEDIA = frozenset(VOCABULARY["media"])
_TAILS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "material": re.compile(
            rf",?\s*\b((?:made of|in) (?:{'|'.join(map(re.escape, VOCABULARY['materials']))}))\b"
        ),
        **{
            place: re.compile(rf",?\s*\b({'|'.join(map(re.escape, VOCABULARY[place]))})\b")
            for place in ("setting", "lighting", "viewpoint")
        },
    }
)
_OPENING = re.compile(
    r"(?:(?:an?|the) )?(?P<medium>[\w' -]{2,60}?) (?P<link>(?:of|showing|depicting)\b.*)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Draft:
    """A template in pieces; empty pieces are left out of its text.

    Attributes:
        form: how the pieces stand, one of `FORMS`.
        medium: a noun without article, such as `pencil sketch`.
        link: what joins it with the class name, such as `of a`.
        style: an adjective of the medium; so is `colour`.
        colour: see `style`.
        look: an adjective of the class name.
        material: such as `made of wood`.
        setting: such as `on a table`; `lighting` and `viewpoint` follow it.
        lighting: see `setting`.
        viewpoint: see `setting`.
        extra: words that fit no other place, at the end.
    """

    medium: str
    link: str = "of a"
    style: str = ""
    colour: str = ""
    look: str = ""
    material: str = ""
    setting: str = ""
    lighting: str = ""
    viewpoint: str = ""
    extra: str = ""
    form: str = "of"

    @classmethod
    def parse(cls, template: str) -> Draft | None:
        """Take a template apart; None where it has none of the forms that `render` writes."""
        head, slot, tail = template.strip().partition(SLOT)
        if not slot:
            return None
        head = head.strip()
        if head.lower() in ("", "a", "an", "the"):
            return cls._parse_name_first(tail)
        if head.endswith(":"):
            style, colour, medium = _split_medium(_without_article(head[:-1]))
            return cls(medium, style=style, colour=colour, **_tails(tail), form="name last")
        match = _OPENING.fullmatch(head)
        if match is None:
            return None
        style, colour, medium = _split_medium(match["medium"])
        link, look = _split_link(match["link"])
        return cls(medium, link, style, colour, look, **_tails(tail))

    @classmethod
    def _parse_name_first(cls, tail: str) -> Draft:
        """Read "<CLASS> on a wall, chalk drawing": what has no other place is the medium."""
        found = _tails(tail)
        pieces = [piece.strip() for piece in found["extra"].split(",") if piece.strip()]
        if not pieces:
            return cls("", **found, form="bare")
        style, colour, medium = _split_medium(_without_article(pieces[0]))
        found["extra"] = ", ".join(pieces[1:])
        return cls(medium, style=style, colour=colour, **found, form="name first")

    def phrases(self) -> list[str]:
        """The optional phrases it has."""
        return [phrase for place in (*PLACES, "extra") if (phrase := getattr(self, place))]

    def only(self, phrases: Collection[str]) -> Draft:
        """Leave out all optional phrases but some."""
        gone = {p: "" for p in (*PLACES, "extra") if getattr(self, p) not in phrases}
        return replace(self, **gone)

    def render(self) -> str:
        """Write the template: one line, one slot, a full stop at the end."""
        noun = " ".join(word for word in (self.style, self.colour, self.medium) if word)
        text = {
            "of": f"{_article(noun)} {noun} {self._linked()} {SLOT}",
            "name first": f"{SLOT}, {noun}" + ("," if self.material or self.setting else ""),
            "name last": f"{noun}: {SLOT}",
            "bare": f"a {SLOT}",
        }[self.form if noun else "bare"]
        for phrase in (self.material, self.setting):
            text += f" {phrase}" if phrase else ""
        comma = "," if self.material or self.setting else ""
        for phrase in (self.lighting, self.viewpoint):
            if phrase:
                text += f"{comma} {phrase}"
                comma = ","
        return f"{text}, {self.extra}." if self.extra else f"{text}."

    def _linked(self) -> str:
        if not self.look:
            return self.link
        if self.link.endswith(" a"):
            return f"{self.link.removesuffix(' a')} {_article(self.look)} {self.look}"
        return f"{self.link} {self.look}"


@lru_cache(maxsize=4096)
def content_words(text: str) -> tuple[str, ...]:
    """The words of a text that carry meaning, in lower case."""
    words = re.findall(r"[\w'-]+", text.replace(SLOT, " ").lower())
    return tuple(word for word in words if word not in _EMPTY_WORDS)


def reads_well(template: str, most_words: int = MOST_WORDS) -> bool:
    """Whether no word that carries meaning comes twice and the template is short."""
    words = content_words(template)
    return len(words) == len(set(words)) and len(template.split()) <= most_words


def _article(phrase: str) -> str:
    return "an" if phrase[:1].lower() in "aeiou" or phrase.startswith("X-ray") else "a"


def _tails(tail: str) -> dict[str, str]:
    """Find the phrases behind the class name by place; the rest is `extra`."""
    rest = tail.strip().rstrip(".")
    found: dict[str, str] = {}
    for place, pattern in _TAILS.items():
        if phrase := pattern.search(rest):
            found[place] = phrase[1]
            rest = rest[: phrase.start()] + rest[phrase.end() :]
    return {**found, "extra": re.sub(r"\s*,[\s,]*", ", ", rest).strip(" ,")}


def _without_article(text: str) -> str:
    return re.sub(r"\A(?:an?|the) ", "", text.strip(), flags=re.IGNORECASE)


def _split_medium(text: str) -> tuple[str, str, str]:
    """Split "rough white chalk drawing" into style, colour and medium."""
    words = text.split()
    found = {"styles": "", "colours": ""}
    while len(words) > 1 and " ".join(words) not in _MEDIA:
        kind = next((kind for kind in found if words[0] in VOCABULARY[kind]), None)
        if kind is None or found[kind]:
            break
        found[kind] = words.pop(0)
    return found["styles"], found["colours"], " ".join(words)


def _split_link(text: str) -> tuple[str, str]:
    """Split "of a white" into "of a" and "white"."""
    words = text.split()
    look = words.pop() if words[-1] in _BEFORE_NOUN else ""
    if words[-1] == "an":
        words[-1] = "a"
    return " ".join(words), look
