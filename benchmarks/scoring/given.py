"""Features that cost nothing, so that comparing them is all that is measured."""

from __future__ import annotations

from collections.abc import Sequence

from dspy import Example
from PIL import Image
from torch import Tensor

from benchmarks.scoring.workload import random_features
from ipo_dspy import CLIPClassifier, clip_acc
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.scoring.scorers import TensorScorer

WIDTH = 512


class GivenFeatures:
    """An encoder that does not look at what it encodes."""

    spec = "given"
    context_length = 77

    def encode_images(self, images: Sequence[Image.Image]) -> Tensor:
        """Random features: [N, 512]."""
        return random_features(len(images), WIDTH)

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Random features: [T, 512]."""
        return random_features(len(texts), WIDTH)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """One for each text."""
        return [1] * len(texts)

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """A hundred times the cosine: [N, C]."""
        return 100.0 * image_features @ text_features.T


def given_scorer(images: int, classes: int) -> TensorScorer:
    """A scorer of that many images, encoded already, in that many classes."""
    names = [f"class {number}" for number in range(classes)]
    predictor = CLIPClassifier(names, Embedder(GivenFeatures())).predict
    examples = [
        Example(image=Image.new("RGB", (1, 1), number), label=names[number % classes])
        for number in range(images)
    ]
    return TensorScorer(predictor, examples, clip_acc)
