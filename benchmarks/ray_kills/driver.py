"""The command that is killed: embeds a folder with Ray, by an encoder that one picture kills."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image

from ipo_dspy import load_encoder
from ipo_dspy.features.backends import Backend
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.features.ray_backend import RayBackend
from ipo_dspy.features.store import Filled
from ipo_dspy.images.readers.references import image_references

DEADLY = (13, 13)
"""Pictures of this size end the process that prepares them."""


class Fragile:
    """The demo's encoder, but for that."""

    def __init__(self) -> None:
        self._encoder: Any = load_encoder("demo", device="cpu", precision="float32")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return Fragile, ()

    def prepare_image(self, image: PIL.Image.Image) -> Any:
        """Prepare a picture, or not."""
        if image.size == DEADLY:
            os._exit(1)
        return self._encoder.prepare_image(image)


def embed(folder: Path, cache: Path, backend: Backend | None = None) -> Filled:
    """Embed what lies in a folder and is not in the cache yet."""
    embedder = Embedder(Fragile(), str(cache), backend)
    return embedder.fill_store(list(image_references(folder)))


def embed_with_ray(folder: Path, cache: Path, workers: int, outcome: Path) -> None:
    """Embed with so many workers, and write down which pictures cannot be read."""
    filled = embed(folder, cache, RayBackend(workers=workers))
    outcome.write_text("\n".join(filled.errors.values()), "utf-8")
