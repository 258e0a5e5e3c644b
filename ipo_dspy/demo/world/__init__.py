"""The demo world: everyday objects drawn in many media, deterministic from a seed.

A classification task without any download: the same objects as photo-like pictures, in chalk, as
blueprints and so on, so that naming the medium in a prompt can matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ipo_dspy.demo.world.media import MEDIA as _MEDIA
from ipo_dspy.demo.world.objects import OBJECTS
from ipo_dspy.demo.world.scene import SIZE, Scene, compose
from ipo_dspy.errors import ArgumentError

Split = Literal["encoder", "train", "test"]
"""What pictures are for: training the demo encoder, optimising a prompt, or testing it."""

CLASSES: tuple[str, ...] = tuple(OBJECTS)
"""Class names; the first half are the base classes, the second half the novel ones."""

BASE_CLASSES: tuple[str, ...] = CLASSES[: len(CLASSES) // 2]
NOVEL_CLASSES: tuple[str, ...] = CLASSES[len(CLASSES) // 2 :]

MEDIA: tuple[str, ...] = tuple(_MEDIA)
"""Names of the media."""

DEMO_MEDIUM = "chalk"
"""The medium of the demo task."""

__all__ = [
    "BASE_CLASSES",
    "CLASSES",
    "DEMO_MEDIUM",
    "MEDIA",
    "NOVEL_CLASSES",
    "SIZE",
    "Scene",
    "Split",
    "draw",
    "lay_out",
    "picture_seed",
    "write_folder",
]


def draw(class_name: str, medium: str, seed: int) -> Image.Image:
    """Draw one object of a class in a medium: an RGB image, SIZE x SIZE pixels.

    Raises:
        ArgumentError: The class or the medium is not of this world.
    """
    if class_name not in OBJECTS:
        raise ArgumentError(
            f"No class {class_name!r} in the demo world; choose from {list(CLASSES)}."
        )
    if medium not in _MEDIA:
        raise ArgumentError(f"No medium {medium!r} in the demo world; choose from {list(MEDIA)}.")
    chance = np.random.default_rng(_digest("strokes", class_name, medium, seed))
    return _MEDIA[medium].render(lay_out(class_name, medium, seed), chance)


def lay_out(class_name: str, medium: str, seed: int) -> Scene:
    """Tell what `draw` with the same arguments shows: where, how large, in which colours."""
    chance = np.random.default_rng(_digest("scene", class_name, medium, seed))
    return compose(class_name, _MEDIA[medium].backdrops, chance)


def picture_seed(split: Split, seed: int, index: int) -> int:
    """Derive the seed of one picture; no two splits, seeds or indices share one."""
    return _digest(split, seed, index)


def write_folder(
    folder: str | Path,
    *,
    medium: str,
    class_names: Sequence[str],
    per_class: int,
    seed: int,
    split: Split,
) -> None:
    """Write `folder/<class name>/<index>.png` for every class, `per_class` pictures each."""
    for class_name in class_names:
        target = Path(folder) / class_name
        target.mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            picture = draw(class_name, medium, picture_seed(split, seed, index))
            picture.save(target / f"{index:03d}.png")


def _digest(*key: object) -> int:
    """Hash to 63 bits, the same in every process."""
    text = "\x1f".join(map(str, key)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
