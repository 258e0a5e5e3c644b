"""A small CLIP with a Vision Transformer and random weights, and programs around it."""

from __future__ import annotations

import json
from pathlib import Path

import dspy
import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from ipo_dspy import CLIPClassifier, load_encoder
from ipo_dspy.features.embedder import Embedder

CONFIG = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 32,
        "layers": 3,
        "width": 48,
        "patch_size": 16,
        "head_width": 16,
    },
    "text_cfg": {
        "context_length": 77,
        "vocab_size": 49408,
        "width": 32,
        "heads": 2,
        "layers": 4,
    },
}
CLASSNAMES = ("red", "green", "blue")


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The spec of an encoder: 3 blocks for images, 4 for texts."""
    folder: Path = tmp_path_factory.mktemp("small-clip")
    (folder / "small-learnable-quickgelu.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    model = open_clip.create_model("small-learnable-quickgelu")
    torch.save(model.state_dict(), folder / "weights.pt")
    return f"open_clip:small-learnable-quickgelu/{folder / 'weights.pt'}"


@pytest.fixture(scope="session")
def small_embedder(small_clip: str) -> Embedder:
    """The same encoder, loaded once."""
    return Embedder(load_encoder(small_clip), cache="off")


@pytest.fixture
def program(small_embedder: Embedder) -> CLIPClassifier:
    """Tells three colours apart."""
    return CLIPClassifier(CLASSNAMES, small_embedder)


@pytest.fixture
def examples() -> list[dspy.Example]:
    """Four pictures of each colour."""
    return coloured_examples(4)


def coloured_examples(per_class: int) -> list[dspy.Example]:
    chance = np.random.default_rng(1)
    found = []
    for number, name in enumerate(CLASSNAMES):
        for _ in range(per_class):
            pixels = chance.integers(0, 60, (40, 48, 3))
            pixels[..., number] += 150
            image = Image.fromarray(pixels.astype(np.uint8))
            found.append(dspy.Example(image=image, label=name).with_inputs("image"))
    return found


@pytest.fixture
def pixels() -> torch.Tensor:
    """Four prepared images."""
    return torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))
