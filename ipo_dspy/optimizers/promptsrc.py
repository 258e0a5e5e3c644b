"""PromptSRC: prompts in both towers that must not lead far from the frozen ones (ICCV 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from ipo_dspy.encoders.prompted_towers import Towers
from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, checked
from ipo_dspy.optimizers.context import INITIAL_WORDS, SPREAD, Context
from ipo_dspy.optimizers.prompt_learner import PromptLearner, TrainingOptions
from ipo_dspy.optimizers.prompted_model import (
    PromptedModel,
    depth_within,
    random_prompts,
    unit_length,
)
from ipo_dspy.optimizers.schedule import GaussianAverage, Recipe
from ipo_dspy.programs.metrics import Metric, clip_acc
from ipo_dspy.prompts.template import SLOT, Template

TEXT_WEIGHT = 25.0
IMAGE_WEIGHT = 10.0


class PromptSRCModel(PromptedModel):
    """Text prompts [n, W] and image prompts [n, V], each for as many layers as its depth says."""

    image_tower_is_plain = False
    teacher = "same view"

    def __init__(
        self,
        towers: Towers,
        context: Context,
        classnames: Sequence[str],
        generator: torch.Generator,
        *,
        text_depth: int,
        image_depth: int,
        teacher_templates: Sequence[Template],
    ) -> None:
        super().__init__(towers, context, classnames, generator)
        n, image_width = context.n, towers.image.width
        self.deep = random_prompts(text_depth - 1, n, towers.text.width, generator)
        self.image_vectors = nn.Parameter(SPREAD * torch.randn(n, image_width, generator=generator))
        self.image_deep = random_prompts(image_depth - 1, n, image_width, generator)
        self.teacher_templates = tuple(teacher_templates)
        self.to(towers.device)

    def _read(self, classnames: Sequence[str]) -> None:
        vars(self).pop("teacher_class_features", None)
        super()._read(classnames)

    def class_features(self) -> Tensor:
        """Encode the classes: [C, D] unit length."""
        features = self.towers.text.features(self.texts, self.vectors, list(self.deep))
        return unit_length(features)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Encode [B, 3, S, S] pixels, normalised as the encoder does: [B, D] unit length."""
        deep = list(self.image_deep)
        return unit_length(self.towers.image.features(pixels, self.image_vectors, deep))

    @cached_property
    def teacher_class_features(self) -> Tensor:
        """What the frozen encoder makes of the classes, mean over the templates: [C, D]."""
        features = [
            self.towers.plain_text_features([template.fill(name)[0] for name in self.classnames])
            for template in self.teacher_templates
        ]
        return unit_length(torch.stack(features).mean(dim=0))

    def outcome(
        self, image_features: Tensor, labels: Tensor, teacher_features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy, and how far features and probabilities are from the frozen encoder's."""
        if teacher_features is None:
            raise ArgumentError(
                "PromptSRC compares with the frozen encoder; pass teacher_features."
            )
        class_features = self.class_features()
        logits = self.towers.logits(image_features, class_features)
        teacher_classes = self.teacher_class_features
        teacher_logits = self.towers.logits(teacher_features, teacher_classes)
        divergence = functional.kl_div(
            logits.log_softmax(dim=1),
            teacher_logits.log_softmax(dim=1),
            reduction="sum",
            log_target=True,
        )
        loss = (
            functional.cross_entropy(logits, labels)
            + TEXT_WEIGHT * functional.l1_loss(class_features, teacher_classes)
            + IMAGE_WEIGHT * functional.l1_loss(image_features, teacher_features)
            + divergence / logits.numel()
        )
        return loss, logits

    @property
    def settings(self) -> dict[str, Any]:
        """The learner's arguments that rebuild a model of this shape."""
        return {"depth": len(self.deep) + 1 if len(self.deep) == len(self.image_deep) else None}

    def official_names(self) -> Mapping[str, str]:
        """The authors' names."""
        names = {"vectors": "prompt_learner.ctx", "image_vectors": "image_encoder.VPT"}
        for own, tower, prompts in (
            ("deep", "text_encoder", self.deep),
            ("image_deep", "image_encoder", self.image_deep),
        ):
            for index in range(len(prompts)):
                block = f"{tower}.transformer.resblocks.{index + 1}"
                names[f"{own}.{index}"] = f"{block}.VPT_shallow"
        return names


@checked
class PromptSRC(PromptLearner):
    """Self-regulating prompts: in both towers, held near the frozen ones, averaged over epochs.

    Defaults are the authors' for base-to-novel generalisation: four vectors that start as `a photo
    of a`, nine layers, 20 epochs, batches of 4, the epochs weighing as a normal curve around the
    fifteenth. The image tower must be a Vision Transformer; in a ResNet of CLIP, which the authors
    do not try, its one layer of attention takes prompts.

    Args:
        metric: see `PromptLearner`.
        n_ctx: how many vectors in each layer of each tower.
        depth: in how many layers; None takes nine, or as many as a tower has.
        init: see `PromptLearner`.
        teacher_templates: of the texts that the frozen encoder reads; None takes open_clip's list
            for ImageNet.
        average: weights of the epochs; None takes the authors'.
        options: see `TrainingOptions`.
    """

    name = "promptsrc"
    recipe = Recipe(epochs=20, batch_size=4, lr=0.0025)
    transferred: ClassVar[Mapping[str, Any]] = {
        "depth": 3,
        "average": GaussianAverage(mean=6, deviation=10),
    }

    def __init__(
        self,
        metric: Metric = clip_acc,
        *,
        n_ctx: Count | None = 4,
        depth: Count | None = None,
        init: str | None = INITIAL_WORDS,
        teacher_templates: Sequence[str] | None = None,
        average: GaussianAverage = GaussianAverage(mean=15, deviation=1),  # noqa: B008 - frozen
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(metric, n_ctx=n_ctx, init=init, **options)
        self.depth = depth
        self.average = average
        if teacher_templates is not None:
            if not len(teacher_templates):
                raise ArgumentError("teacher_templates must have at least one template, got none.")
            for text in teacher_templates:
                Template(text)
        self.teacher_templates = teacher_templates

    @classmethod
    def sizes_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments that make tensors of the sizes of an authors' checkpoint."""
        deep = sum(name.startswith("text_encoder.") for name in tensors)
        return {**super().sizes_of(tensors), "depth": 1 + deep}

    def model(self, towers: Towers, context: Context, classnames: Sequence[str]) -> PromptSRCModel:
        """Put prompts into both towers."""
        given = self.teacher_templates
        templates = imagenet_templates() if given is None else given
        return PromptSRCModel(
            towers,
            context,
            classnames,
            self.generator,
            text_depth=depth_within(self.depth, towers, of_images=False),
            image_depth=depth_within(self.depth, towers, of_texts=False),
            teacher_templates=[Template(text) for text in templates],
        )


def imagenet_templates() -> list[str]:
    """The 80 templates that CLIP's authors wrote for ImageNet, as open_clip has them."""
    import open_clip

    return [fill(SLOT) for fill in open_clip.OPENAI_IMAGENET_TEMPLATES]
