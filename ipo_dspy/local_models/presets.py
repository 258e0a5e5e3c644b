"""What became of the models of IPO's poster."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal


@dataclass(frozen=True)
class Preset:
    """A model of the poster.

    Attributes:
        name: as the poster writes it.
        role: what it did there: propose prompts or describe images.
        original: its name with its provider or on the Hugging Face hub.
        use: what to pass to `language_model` or `vision_model`, or on the command line, today.
        status: what became of it, and why `use` is another model where it is.
        is_served: whether the original can still be had.
    """

    name: str
    role: Literal["prompt", "image"]
    original: str
    use: str
    status: str
    is_served: bool = True


@cache
def read_presets() -> tuple[Preset, ...]:
    """Read the models that the poster compares, in its order, from `presets.toml`."""
    table = tomllib.loads(files(__package__).joinpath("presets.toml").read_text(encoding="utf-8"))
    return tuple(Preset(**row) for row in table["presets"])
