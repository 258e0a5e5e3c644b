"""CoOp: a context of learned vectors before the class name (Zhou et al., IJCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Unpack

import torch
from torch import nn

from ipo_dspy.encoders.prompted_towers import Towers
from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, checked
from ipo_dspy.optimizers.context import INITIAL_WORDS, Context, Position
from ipo_dspy.optimizers.prompt_learner import PromptLearner, TrainingOptions
from ipo_dspy.optimizers.prompted_model import PromptedModel
from ipo_dspy.optimizers.schedule import Recipe
from ipo_dspy.programs.metrics import Metric, clip_acc


class CoOpModel(PromptedModel):
    """The vectors, [n, W] for all classes or [C, n, W], some for each."""

    def __init__(
        self,
        towers: Towers,
        context: Context,
        classnames: Sequence[str],
        generator: torch.Generator,
        *,
        class_specific: bool = False,
    ) -> None:
        super().__init__(towers, context, classnames, generator)
        if class_specific:
            self.vectors = nn.Parameter(self.vectors.detach().repeat(len(self.classnames), 1, 1))

    def for_classes(self, classnames: Sequence[str]) -> CoOpModel:
        """The same vectors with other class names.

        Raises:
            ArgumentError: every class has vectors of its own, or a class name does not fit.
        """
        if self.vectors.ndim == 3 and tuple(classnames) != self.classnames:
            raise ArgumentError(
                "With class_specific=True every class has vectors of its own, so other class names "
                "than those of the training cannot be used."
            )
        return super().for_classes(classnames)

    @property
    def settings(self) -> dict[str, Any]:
        """The learner's arguments that rebuild a model of this shape."""
        return {"class_specific": self.vectors.ndim == 3}

    def official_names(self) -> Mapping[str, str]:
        """The authors' names."""
        return {"vectors": "prompt_learner.ctx"}


@checked
class CoOp(PromptLearner):
    """Context optimization: learns the vectors before the class name, and nothing else.

    Defaults are the authors' for base-to-novel generalisation: vectors that start as `a photo of
    a`, 200 epochs (50 on ImageNet), batches of 32. Works with every open_clip model whose text
    tower is causal.

    Args:
        metric: see `PromptLearner`.
        n_ctx: how many vectors; None takes as many as `init` has words.
        init: see `PromptLearner`.
        class_specific: learn vectors for each class; other class names cannot be used then.
        position: where the class name stands: behind the vectors, in their middle or before them.
        options: see `TrainingOptions`.
    """

    name = "coop"
    recipe = Recipe(epochs=200, batch_size=32, lr=0.002)
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {"imagenet": {"epochs": 50}}
    transferred: ClassVar[Mapping[str, Any]] = {"epochs": 50}

    def __init__(
        self,
        metric: Metric = clip_acc,
        *,
        n_ctx: Count | None = None,
        init: str | None = INITIAL_WORDS,
        class_specific: bool = False,
        position: Position = "end",
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(metric, n_ctx=n_ctx, init=init, position=position, **options)
        self.class_specific = class_specific

    @classmethod
    def sizes_of(cls, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """The arguments that make tensors of the sizes of an authors' checkpoint."""
        return {**super().sizes_of(tensors), "class_specific": tensors["ctx"].ndim == 3}

    def model(self, towers: Towers, context: Context, classnames: Sequence[str]) -> CoOpModel:
        """Put vectors into the text tower."""
        return CoOpModel(
            towers, context, classnames, self.generator, class_specific=self.class_specific
        )
