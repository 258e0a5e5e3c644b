"""CoPrompt: MaPLe with adapters, held consistent with the frozen encoder (Roy & Etemad, 2024)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from ipo_dspy.encoders.prompted_towers import Towers
from ipo_dspy.optimizers.context import INITIAL_WORDS, Context
from ipo_dspy.optimizers.maple import MaPLeModel
from ipo_dspy.optimizers.prompt_learner import PromptLearner, TrainingOptions
from ipo_dspy.optimizers.prompted_model import (
    PromptedModel,
    depth_within,
    linear,
    unit_length,
)
from ipo_dspy.optimizers.schedule import Recipe
from ipo_dspy.programs.metrics import Metric, clip_acc

IMAGE_SHARE = 0.1
TEXT_SHARE = 0.2
_REDUCTION = 4


class Adapter(nn.Module):
    """Two layers without bias over features [N, D], a ReLU behind each, mixed with the features.

    Args:
        dim: of the features.
        share: how much of the result the layers make up, 0 to 1.
        generator: of the weights at the start.
    """

    def __init__(self, dim: int, share: float, generator: torch.Generator) -> None:
        super().__init__()
        self.share = share
        self.narrow = linear(dim, dim // _REDUCTION, generator, bias=False)
        self.widen = linear(dim // _REDUCTION, dim, generator, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Adapt features: [N, D]."""
        adapted = functional.relu(self.widen(functional.relu(self.narrow(features))))
        return self.share * adapted + (1 - self.share) * features


class CoPromptModel(MaPLeModel):
    """MaPLe's prompts, and an adapter on the features of each tower."""

    teacher = "second view"

    def __init__(
        self,
        towers: Towers,
        context: Context,
        classnames: Sequence[str],
        generator: torch.Generator,
        *,
        depth: int,
        sentences: Mapping[str, Sequence[str]],
        weight: float,
        seed: int,
    ) -> None:
        super().__init__(towers, context, classnames, generator, depth=depth)
        self.image_adapter = Adapter(towers.dim, IMAGE_SHARE, generator)
        self.text_adapter = Adapter(towers.dim, TEXT_SHARE, generator)
        self.sentences = sentences
        self.weight = weight
        self.seed = seed
        self.to(towers.device)

    def _read(self, classnames: Sequence[str]) -> None:
        vars(self).pop("sentence_features", None)
        super()._read(classnames)

    def _class_features(self) -> Tensor:
        features: Tensor = self.text_adapter(super()._class_features())
        return features

    def _image_features(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.image_adapter(super()._image_features(pixels))
        return features

    @cached_property
    def sentence_features(self) -> Tensor:
        """What the frozen encoder makes of the sentences: [S, C, D] unit length."""
        by_class = [self.sentences[name.replace("_", " ")] for name in self.classnames]
        return torch.stack(
            [unit_length(self.towers.plain_text_features(texts)) for texts in by_class], dim=1
        )

    def outcome(
        self, image_features: Tensor, labels: Tensor, teacher_features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy, and the angle to what the frozen encoder sees and reads."""
        if teacher_features is None:
            raise ValueError("CoPrompt compares with the frozen encoder; pass teacher_features.")
        class_features = self.class_features()
        logits = self.towers.logits(image_features, class_features)
        chance = random.Random(f"sentence {self.seed} {self.step}")
        sentences = self.sentence_features[chance.randrange(len(self.sentence_features))]
        texts = 1 - functional.cosine_similarity(class_features, sentences, eps=1e-7).mean()
        images = 1 - functional.cosine_similarity(image_features, teacher_features, eps=1e-7).mean()
        return functional.cross_entropy(logits, labels) + self.weight * (texts + images), logits

    def official_names(self) -> Mapping[str, str]:
        """The authors' names."""
        layers = {"narrow": 0, "widen": 2}
        return {**super().official_names()} | {
            f"{tower}_adapter.{own}.weight": f"adapter_{tower}.fc.{number}.weight"
            for tower in ("image", "text")
            for own, number in layers.items()
        }


class CoPrompt(PromptLearner):
    """Consistency-guided prompts: MaPLe's, with adapters, held consistent with the frozen encoder.

    Defaults are the authors' where they name no dataset: two vectors that start as `a photo`, nine
    layers, 8 epochs, batches of 4, weight 1; `for_dataset` has theirs for each. The image tower
    must be a Vision Transformer; in a ResNet of CLIP, which the authors do not try, its one layer
    of attention takes prompts.

    Args:
        metric: see `PromptLearner`.
        n_ctx: how many vectors in each layer.
        depth: in how many layers; None takes nine, or as many as both towers have.
        init: see `PromptLearner`.
        sentences: by class name, equally many sentences about each; None has the class describer
            write them.
        weight: of the consistency in the loss.
        options: see `TrainingOptions`.
    """

    name = "coprompt"
    recipe = Recipe(epochs=8, batch_size=4, lr=0.0035)
    augmentation = "randaugment"
    published = {
        "imagenet": {"weight": 8, "n_ctx": 4, "depth": 12},
        "caltech101": {"weight": 4, "n_ctx": 4, "depth": 12},
        "oxford_pets": {"weight": 0.1, "n_ctx": 2, "depth": 12},
        "stanford_cars": {"weight": 4, "n_ctx": 4, "depth": 12},
        "flowers102": {"weight": 8, "n_ctx": 4, "depth": 9},
        "food101": {"weight": 0.5, "n_ctx": 4, "depth": 9, "epochs": 5},
        "fgvc_aircraft": {"weight": 2, "n_ctx": 4, "depth": 9},
        "sun397": {"weight": 8, "n_ctx": 4, "depth": 12},
        "dtd": {"weight": 8, "n_ctx": 2, "depth": 12},
        "eurosat": {"weight": 0.1, "n_ctx": 2, "depth": 12},
        "ucf101": {"weight": 2, "n_ctx": 4, "depth": 12},
    }

    def __init__(
        self,
        metric: Metric = clip_acc,
        *,
        n_ctx: int | None = 2,
        depth: int | None = None,
        init: str | None = INITIAL_WORDS,
        sentences: Mapping[str, Sequence[str]] | None = None,
        weight: float = 1.0,
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(metric, n_ctx=n_ctx, init=init, options=options)
        self.depth = depth
        self.sentences = sentences
        self.weight = weight

    def model(self, towers: Towers, context: Context, classnames: Sequence[str]) -> CoPromptModel:
        """Put prompts into both towers, and adapters behind them."""
        return CoPromptModel(
            towers,
            context,
            classnames,
            self.generator,
            depth=depth_within(self.depth, towers),
            sentences=self.sentences or {},
            weight=self.weight,
            seed=self.seed,
        )

    def settings(self, model: PromptedModel) -> dict[str, Any]:
        """The arguments that rebuild a model of this shape."""
        return {"depth": len(model.deep) + 1}
