"""CoCoOp: a context that each image shifts (Zhou et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from ipo_dspy.encoders.prompted_towers import Towers
from ipo_dspy.errors.arguments import checked
from ipo_dspy.optimizers.context import Context
from ipo_dspy.optimizers.prompt_learner import PromptLearner
from ipo_dspy.optimizers.prompted_model import (
    PromptedModel,
    linear,
    unit_length,
)
from ipo_dspy.optimizers.schedule import Recipe

_TEXTS_AT_ONCE = 1024
_REDUCTION = 16


class MetaNet(nn.Module):
    """From an image's features [B, D] to what is added to each vector of the context: [B, W]."""

    def __init__(self, dim: int, width: int, generator: torch.Generator) -> None:
        super().__init__()
        self.narrow = linear(dim, dim // _REDUCTION, generator)
        self.widen = linear(dim // _REDUCTION, width, generator)

    def forward(self, features: Tensor) -> Tensor:
        """Two layers with a ReLU between them."""
        shift: Tensor = self.widen(functional.relu(self.narrow(features)))
        return shift


class CoCoOpModel(PromptedModel):
    """The context, [n, W], and the network that shifts it; every image has its own classifier."""

    classes_depend_on_image = True

    def __init__(
        self,
        towers: Towers,
        context: Context,
        classnames: Sequence[str],
        generator: torch.Generator,
    ) -> None:
        super().__init__(towers, context, classnames, generator)
        self.meta_net = MetaNet(towers.dim, towers.text.width, generator).to(towers.device)

    def compare(self, image_features: Tensor) -> Tensor:
        """Classify images by their features [B, D]: [B, C] logits."""
        at_once = max(1, _TEXTS_AT_ONCE // len(self.classnames))
        return torch.cat([self._compare(part) for part in image_features.split(at_once)])

    def _compare(self, image_features: Tensor) -> Tensor:
        images, classes = len(image_features), len(self.classnames)
        contexts = self.vectors + self.meta_net(image_features)[:, None]
        features = self.towers.text.features(
            self.texts.repeated(images), contexts.repeat_interleave(classes, dim=0)
        )
        return self.towers.logits(image_features, unit_length(features).view(images, classes, -1))

    def official_names(self) -> Mapping[str, str]:
        """The authors' names."""
        layers = {"narrow": "linear1", "widen": "linear2"}
        return {"vectors": "prompt_learner.ctx"} | {
            f"meta_net.{own}.{part}": f"prompt_learner.meta_net.{theirs}.{part}"
            for own, theirs in layers.items()
            for part in ("weight", "bias")
        }


@checked
class CoCoOp(PromptLearner):
    """Conditional context optimization: vectors that a small network shifts for each image.

    Defaults are the authors' for base-to-novel generalisation: vectors that start as `a photo of
    a`, 10 epochs, one image a step. Every image has a text classifier of its own, so classifying
    takes images times classes texts.
    """

    name = "cocoop"
    recipe = Recipe(epochs=10, batch_size=1, lr=0.002)

    def model(self, towers: Towers, context: Context, classnames: Sequence[str]) -> CoCoOpModel:
        """Put vectors into the text tower, and the network beside it."""
        return CoCoOpModel(towers, context, classnames, self.generator)
