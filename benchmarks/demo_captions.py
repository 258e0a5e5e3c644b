"""Natural captions for pictures of the demo world, to train the demo encoder with.

The words and frames are in demo_captions.toml; a frame's slots are listed at `CaptionWriter._slot`.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ipo_dspy.demo.world import MEDIA, Scene

_Option = TypeVar("_Option")


@dataclass(frozen=True)
class Caption:
    """A text, and which pictures it is true of: no class name stands for any class."""

    text: str
    class_name: str | None
    media: tuple[str, ...]


@dataclass(frozen=True)
class Lexicon:
    """What people say about one medium.

    `pictures` name such a picture, `made` follows the object, `places` says where it is, `looks`
    are plural or mass nouns for what one sees, `words` stand alone.
    """

    pictures: list[str]
    made: list[str]
    places: list[str]
    looks: list[str]
    words: list[str]
    coloured: bool


_GRAMMAR = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_LEXICONS = {medium: Lexicon(**entries) for medium, entries in _GRAMMAR["media"].items()}
_SHARED = [(tuple(entry["media"]), entry["words"]) for entry in _GRAMMAR["shared"]]
_SHARED.append((MEDIA, ["picture", "image", "depiction"]))
_FRAMES: dict[str, list[str]] = _GRAMMAR["frames"]
_SHARED_FRAMES = (
    "{word} of {X}.",
    "{X}, {word}.",
    "{word}: {X}",
    "a {word}, {X}",
    "{x} {word}",
    "{word}",
    "the {word} of the {x}",
)


class CaptionWriter:
    """Writes captions for scenes, by chance from a seed."""

    def __init__(self, seed: int | str) -> None:
        self._chance = random.Random(seed)

    def short(self, scene: Scene, medium: str) -> Caption:
        """Write one sentence or phrase, 1 to about 30 tokens."""
        kind = self._chance.random()
        if kind < 0.10:
            text = self._fill(self._pick(_FRAMES["words_only"]), scene, medium)
            return Caption(text, None, (medium,))
        if kind < 0.26:
            return self._shared(scene, medium)
        if kind < 0.30:
            text = self._fill(self._pick(_FRAMES["plain"]), scene, medium)
            return Caption(text, scene.class_name, MEDIA)
        frames = _FRAMES["wrapped" if kind < 0.48 else "short"]
        text = self._fill(self._pick(frames), scene, medium)
        return Caption(self._punctuate(text), scene.class_name, (medium,))

    def long(self, scene: Scene, medium: str) -> Caption:
        """Write several sentences, about 20 to 75 tokens."""
        sentences = [self._pick(_FRAMES["wrapped" if self._chance.random() < 0.7 else "short"])]
        sentences += [self._pick(_FRAMES["leads"]) for _ in range(self._chance.randint(1, 4))]
        if self._chance.random() < 0.5:
            self._chance.shuffle(sentences)
        text = " ".join(self._fill(sentence, scene, medium) for sentence in sentences)
        return Caption(text, scene.class_name, (medium,))

    def _shared(self, scene: Scene, medium: str) -> Caption:
        """Say something that is true of several media."""
        media, words = self._pick([entry for entry in _SHARED if medium in entry[0]])
        frame = self._pick(_SHARED_FRAMES)
        text = self._fill(frame.replace("{word}", self._pick(words)), scene, medium)
        named = "{x}" in frame or "{X}" in frame
        return Caption(text, scene.class_name if named else None, media)

    def _pick(self, options: Sequence[_Option]) -> _Option:
        return options[int(self._chance.random() * len(options))]

    def _punctuate(self, text: str) -> str:
        kind = self._chance.random()
        if kind < 0.3:
            return text.rstrip(".")
        return text.rstrip(".") + "!" if kind > 0.98 else text

    def _fill(self, frame: str, scene: Scene, medium: str) -> str:
        """Fill every slot of a frame; equal slots are filled independently."""
        while "{" in frame:
            before, _, rest = frame.partition("{")
            slot, _, after = rest.partition("}")
            frame = before + self._slot(slot, scene, _LEXICONS[medium]) + after
        return frame

    def _slot(self, slot: str, scene: Scene, lexicon: Lexicon) -> str:
        phrases = {"M": lexicon.made, "S": lexicon.places, "L": lexicon.looks, "w": lexicon.words}
        if slot in phrases:
            return self._pick(phrases[slot])
        about_scene = {
            "x": lambda: scene.class_name,
            "X": lambda: self._object(scene, lexicon),
            "P": lambda: _with_article(self._picture(lexicon)),
            "p": lambda: self._picture(lexicon),
            "where": lambda: self._where(scene),
            "size": lambda: self._size(scene),
            "back": lambda: self._back(scene),
            "scraps": lambda: "small shapes around it" if scene.clutter else "no other things",
            "colour": lambda: scene.colour if lexicon.coloured else "hard to tell",
        }
        return about_scene[slot]()

    def _picture(self, lexicon: Lexicon) -> str:
        picture = self._pick(lexicon.pictures)
        if self._chance.random() < 0.1:
            picture = (
                self._pick(("simple", "rough", "nice", "beautiful", "clear", "small"))
                + " "
                + picture
            )
        return picture

    def _object(self, scene: Scene, lexicon: Lexicon) -> str:
        name = scene.class_name
        if self._chance.random() < 0.25:
            adjective = scene.colour if lexicon.coloured else self._size(scene)
            name = f"{adjective} {name}"
        elif self._chance.random() < 0.12:
            name = f"{self._size(scene)} {name}"
        kind = self._chance.random()
        if kind < 0.7:
            return _with_article(name)
        if kind < 0.85:
            return f"the {name}"
        return name if kind < 0.95 else f"a single {name}"

    def _size(self, scene: Scene) -> str:
        if scene.scale > 0.36:
            return self._pick(("large", "big", "close-up", "huge"))
        if scene.scale < 0.29:
            return self._pick(("small", "little", "tiny", "distant"))
        return self._pick(("single", "simple", "medium-sized", "plain"))

    def _where(self, scene: Scene) -> str:
        places = []
        if scene.x < 0.44 or scene.x > 0.56:
            places.append("on the left" if scene.x < 0.5 else "on the right")
        if scene.y < 0.44 or scene.y > 0.56:
            places.append("at the top" if scene.y < 0.5 else "at the bottom")
        if abs(scene.tilt) > 15:
            places += ["tilted to one side", "at an angle"]
        if len(scene.clutter) > 3:
            places += ["among other shapes", "on a cluttered background"]
        if not scene.clutter:
            places += ["alone", "on a plain background"]
        return self._pick(places or ["in the middle", "in the center", "upright in the centre"])

    def _back(self, scene: Scene) -> str:
        frames = ("on a {0} background", "against {0}", "in front of a {0} background")
        return self._pick(frames).format(scene.backdrop)


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "aeiou8" else f"a {name}"
