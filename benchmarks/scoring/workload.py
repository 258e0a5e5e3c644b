"""What is encoded: the poster's prompts with ImageNet's class names, by random weights."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from ipo_dspy import Template
from ipo_dspy.encoders.open_clip import OpenCLIPEncoder

MODEL = "ViT-B-16-quickgelu"
POSTER = Path(__file__).parent.parent / "poster.json"
PROMPTS = tuple(json.loads(POSTER.read_text("utf-8"))["best_prompts"].values())
"""The best 1-shot prompt of each of the poster's eleven datasets."""


@dataclass(frozen=True)
class Workload:
    """A randomly initialised model, for weights do not change the speed.

    Args:
        device: as torch spells it.
        rounds: how often each work is timed.
    """

    device: str = "cpu"
    rounds: int = 3

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        torch.manual_seed(0)
        logging.disable(logging.WARNING)  # open_clip warns that the weights are random.
        model, _, preprocess = open_clip.create_model_and_transforms(MODEL, device=self.device)
        logging.disable(logging.NOTSET)
        return model.eval(), preprocess

    @property
    def model(self) -> Any:
        """The model as open_clip makes it."""
        return self._parts[0]

    @property
    def preprocess(self) -> Any:
        """What open_clip prepares an image with."""
        return self._parts[1]

    def encoder(self, precision: str = "float32") -> OpenCLIPEncoder:
        """Put the same weights into an encoder."""
        model, preprocess = self._parts
        return OpenCLIPEncoder(
            f"open_clip:{MODEL}",
            model,
            preprocess,
            open_clip.get_tokenizer(MODEL),
            device=self.device,
            precision=precision,
        )


def filled(template: str, classes: int) -> list[str]:
    """Fill in the first of ImageNet's class names."""
    names = open_clip.IMAGENET_CLASSNAMES[:classes]
    return [text for name in names for text in Template(template).fill(name)]


def random_features(count: int, width: int) -> Tensor:
    """Features of images that are not there: [count, width] unit length."""
    generator = torch.Generator().manual_seed(0)
    return torch.nn.functional.normalize(torch.randn(count, width, generator=generator), dim=-1)
