"""MaPLe: prompts in both towers, those of images made of those of texts (Khattak et al., 2023)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn

from ipo_dspy.encoders.prompted_towers import Towers
from ipo_dspy.errors.arguments import Count, checked
from ipo_dspy.optimizers.context import INITIAL_WORDS, Context
from ipo_dspy.optimizers.prompt_learner import PromptLearner, TrainingOptions
from ipo_dspy.optimizers.prompted_model import (
    PromptedModel,
    depth_within,
    linear,
    random_prompts,
    unit_length,
)
from ipo_dspy.optimizers.schedule import Recipe
from ipo_dspy.programs.metrics import Metric, clip_acc


class MaPLeModel(PromptedModel):
    """Text prompts of `depth` layers, [n, W] each, and a layer for each that maps it to images."""

    image_tower_is_plain = False

    def __init__(
        self,
        towers: Towers,
        context: Context,
        classnames: Sequence[str],
        generator: torch.Generator,
        *,
        depth: int,
    ) -> None:
        super().__init__(towers, context, classnames, generator)
        width, image_width = towers.text.width, towers.image.width
        self.projection = linear(width, image_width, generator)
        self.deep = random_prompts(depth - 1, context.n, width, generator)
        layer = linear(width, image_width, generator)
        self.deep_projections = nn.ModuleList(copy.deepcopy(layer) for _ in range(depth - 1))
        self.to(towers.device)

    def class_features(self) -> Tensor:
        """Encode the classes: [C, D] unit length."""
        return unit_length(self._class_features())

    def image_features(self, pixels: Tensor) -> Tensor:
        """Encode [B, 3, S, S] pixels, normalised as the encoder does: [B, D] unit length."""
        return unit_length(self._image_features(pixels))

    def _class_features(self) -> Tensor:
        return self.towers.text.features(self.texts, self.vectors, list(self.deep))

    def _image_features(self, pixels: Tensor) -> Tensor:
        pairs = zip(self.deep_projections, self.deep, strict=True)
        deep = [layer(prompt) for layer, prompt in pairs]
        return self.towers.image.features(pixels, self.projection(self.vectors), deep)

    @property
    def settings(self) -> dict[str, Any]:
        """The learner's arguments that rebuild a model of this shape."""
        return {"depth": len(self.deep) + 1}

    def official_names(self) -> Mapping[str, str]:
        """The authors' names."""
        named = {
            "vectors": "ctx",
            "projection": "proj",
            "deep": "compound_prompts_text",
            "deep_projections": "compound_prompt_projections",
        }
        names = {}
        for own, _ in self.named_parameters():
            part, dot, rest = own.partition(".")
            if part in named:
                names[own] = f"prompt_learner.{named[part]}{dot}{rest}"
        return names


def depth_of_official(tensors: Mapping[str, Tensor]) -> int:
    """In how many layers a checkpoint of MaPLe or CoPrompt has prompts."""
    return 1 + sum(name.startswith("compound_prompts_text.") for name in tensors)


@checked
class MaPLe(PromptLearner):
    """Multi-modal prompt learning: prompts in the first layers of both towers.

    Defaults are the authors' for base-to-novel generalisation: two vectors that start as `a photo`,
    nine layers, 5 epochs, batches of 4. The image tower must be a Vision Transformer; in a ResNet
    of CLIP, which the authors do not try, its one layer of attention takes prompts.

    Args:
        metric: see `PromptLearner`.
        n_ctx: how many vectors in each layer.
        depth: in how many layers; None takes nine, or as many as both towers have.
        init: see `PromptLearner`.
        options: see `TrainingOptions`.
    """

    name = "maple"
    recipe = Recipe(epochs=5, batch_size=4, lr=0.0035)
    transferred: ClassVar[Mapping[str, Any]] = {"depth": 3, "epochs": 2, "lr": 0.0026}

    def __init__(
        self,
        metric: Metric = clip_acc,
        *,
        n_ctx: Count | None = 2,
        depth: Count | None = None,
        init: str | None = INITIAL_WORDS,
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(metric, n_ctx=n_ctx, init=init, **options)
        self.depth = depth

    @classmethod
    def sizes_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments that make tensors of the sizes of an authors' checkpoint."""
        return {**super().sizes_of(tensors), "depth": depth_of_official(tensors)}

    def model(self, towers: Towers, context: Context, classnames: Sequence[str]) -> MaPLeModel:
        """Put prompts into both towers."""
        depth = depth_within(self.depth, towers)
        return MaPLeModel(towers, context, classnames, self.generator, depth=depth)
