"""CoOp: one context of learned vectors before the class name (Zhou et al., IJCV 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import nn

from ipo_dspy.encoders.prompted_towers import Towers
from ipo_dspy.optimizers.context import INITIAL_WORDS, Context, Position
from ipo_dspy.optimizers.prompt_learner import PromptLearner
from ipo_dspy.optimizers.prompted_model import PromptedModel
from ipo_dspy.optimizers.training import Recipe


class CoOpModel(PromptedModel):
    """The context, [n, W] for all classes or [C, n, W], a context for each."""

    def __init__(
        self,
        towers: Towers,
        words: Context,
        classnames: Sequence[str],
        generator: torch.Generator,
        *,
        class_specific: bool = False,
    ) -> None:
        super().__init__(towers, words, classnames, generator)
        if class_specific:
            self.context = nn.Parameter(self.context.detach().repeat(len(self.classnames), 1, 1))

    def _read(self, classnames: Sequence[str]) -> None:
        context = getattr(self, "context", None)
        if context is not None and context.ndim == 3 and tuple(classnames) != self.classnames:
            raise ValueError(
                "With class_specific=True every class has vectors of its own, so other class names "
                "than those of the training cannot be used."
            )
        super()._read(classnames)

    def official_names(self) -> Mapping[str, str]:
        """The authors' names."""
        return {"context": "prompt_learner.ctx"}


class CoOp(PromptLearner):
    """Context optimization: learns the vectors before the class name, and nothing else.

    Defaults are the authors' for base-to-novel generalisation: four vectors that start as `a photo
    of a`, 200 epochs, batches of 32.

    Args:
        class_specific: learn a context for each class; other class names cannot be used then.
        position: where the class name stands among the vectors.
    """

    __doc__ = (__doc__ or "") + PromptLearner.ARGUMENTS

    method = "coop"
    recipe = Recipe(epochs=200, batch_size=32, lr=0.002)
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {"imagenet": {"epochs": 50}}

    def __init__(
        self,
        *args: Any,
        n_ctx: int | None = None,
        init: str | None = INITIAL_WORDS,
        class_specific: bool = False,
        position: Position = "end",
        **training: Any,
    ) -> None:
        super().__init__(*args, **training)
