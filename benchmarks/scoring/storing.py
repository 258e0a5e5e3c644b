"""How the cost of image features grows: with images, and with how many are in the store already."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from benchmarks.scoring.scaling import Growth, grow
from benchmarks.scoring.workload import Workload
from benchmarks.store_growth import Synthetic, named
from ipo_dspy import load_encoder
from ipo_dspy.features.image_batches import encode_images
from ipo_dspy.features.store import FeatureStore

EMBEDDED = (50, 200, 800)
ASKED = (2000, 8000, 32_000)
STORED = (32_000, 128_000, 512_000)
_NO_LIMIT = 10**15
_WIDTH = 16


def measure_storing(workload: Workload) -> list[Growth]:
    """Embed small pictures, fill stores, and pass over what is in them."""
    with ExitStack() as stack:

        def folder() -> Path:
            return Path(stack.enter_context(TemporaryDirectory()))

        return [
            grow("embed images", _embedding(folder()), workload.rounds, images=EMBEDDED),
            grow("fill a store", _fill, workload.rounds, images=STORED),
            grow(
                "pass over a store", _passing(folder()), workload.rounds, asked=ASKED, stored=STORED
            ),
        ]


def _embedding(folder: Path) -> Callable[[int], object]:
    encoder, noise = load_encoder("demo", device="cpu"), np.random.default_rng(0)
    files = [folder / f"{number}.png" for number in range(max(EMBEDDED))]
    for file in files:
        Image.fromarray(noise.integers(0, 256, (32, 32, 3), np.uint8)).save(file)

    def embed(images: int) -> object:
        return encode_images(encoder, files[:images])

    embed(min(EMBEDDED))
    return embed


def _fill(images: int) -> None:
    backend = Synthetic(_WIDTH)
    with TemporaryDirectory() as folder:
        FeatureStore(Path(folder), backend, _NO_LIMIT).fill(named(0, images), backend)


def _passing(folder: Path) -> Callable[[int, int], object]:
    backend = Synthetic(_WIDTH)
    stores = {}
    for images in STORED:
        stores[images] = FeatureStore(folder / str(images), backend, _NO_LIMIT)
        stores[images].fill(named(0, images), backend)

    def ask(asked: int, stored: int) -> object:
        return stores[stored].fill(named(stored - asked, stored), backend)

    return ask
