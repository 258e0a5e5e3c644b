"""What all gradient prompt learners share: they train vectors instead of searching for words."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypedDict

import dspy
import torch
from dspy.teleprompt import Teleprompter

from ipo_dspy.encoders.prompted_towers import Towers, towers_of
from ipo_dspy.optimizers.context import Context, Position
from ipo_dspy.optimizers.prompted_model import PromptedModel
from ipo_dspy.optimizers.schedule import GaussianAverage, Recipe
from ipo_dspy.optimizers.training import Epoch
from ipo_dspy.optimizers.views import Augmentation
from ipo_dspy.programs.metrics import Metric, clip_acc
from ipo_dspy.programs.predict import ZeroShotPredict, zero_shot_predictors
from ipo_dspy.runs.budget import Budget

logger = logging.getLogger(__name__)

PROGRAM = "program"
"""As `init`: start from the template of the program."""


class TrainingOptions(TypedDict, total=False):
    """How a learner trains; what is left out is as its authors have it.

    Attributes:
        epochs: how many.
        batch_size: images of a step.
        lr: the highest learning rate.
        augmentation: what a step sees of an image: `crop`, `randaugment` or `none`.
        precision: `float32`, or `bfloat16` as autocast over float32 weights.
        seed: of order, views and what starts at random.
        budget: its `seconds` end the training early, with what is learned by then.
        run_dir: folder of the training; one that is begun again there goes on after its last
            finished epoch.
        progress: show a bar on the terminal; None shows it where there is one.
        on_epoch: called with every finished epoch.
        track_stats: attach `detailed_results`, `trial_logs` and `score`.
        callbacks: DSPy callbacks for `on_compile_start` and `on_compile_end`.
    """

    epochs: int
    batch_size: int
    lr: float
    augmentation: Augmentation
    precision: str
    seed: int
    budget: Budget | None
    run_dir: str | Path | None
    progress: bool | None
    on_epoch: Callable[[Epoch], None] | None
    track_stats: bool
    callbacks: Sequence[Any] | None


class PromptLearner(Teleprompter, ABC):
    """Learns vectors by gradient descent on labelled images, the encoder staying as it is.

    Args:
        metric: scores the learned program on the validation set, where there is one; what is
            trained is the cross-entropy.
        n_ctx: how many vectors stand in the text.
        init: words that the vectors start as, a template, `program` for the template of the
            program, or None to start at random.
        options: see `TrainingOptions`.
    """

    name: ClassVar[str]
    """What it is called in files and on the command line."""
    recipe: ClassVar[Recipe]
    """What its authors train with."""
    augmentation: ClassVar[Augmentation] = "crop"
    """What its authors let a step see."""
    average: ClassVar[GaussianAverage | None] = None
    """How its authors average over epochs; None keeps the last one."""
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """The authors' arguments for single datasets."""

    def __init__(
        self,
        metric: Metric = clip_acc,
        *,
        n_ctx: int | None,
        init: str | None,
        position: Position = "end",
        options: TrainingOptions,
    ) -> None:
        super().__init__()
        self.metric = metric
        self.n_ctx = n_ctx
        self.init = init
        self.position = position
        given = {key: options[key] for key in ("epochs", "batch_size", "lr") if key in options}
        self.training = replace(self.recipe, **given)
        self.views: Augmentation = options.get("augmentation", self.augmentation)
        self.precision = options.get("precision", "float32")
        self.seed = options.get("seed", 0)
        self.budget = options.get("budget") or Budget()
        run_dir = options.get("run_dir")
        self.run_dir = None if run_dir is None else Path(run_dir)
        self.progress = options.get("progress")
        self.on_epoch = options.get("on_epoch")
        self.track_stats = options.get("track_stats", True)
        self.callbacks = list(options.get("callbacks") or [])

    @classmethod
    def for_dataset(cls, dataset: str, **arguments: Any) -> Self:
        """Make one with the authors' arguments for a dataset, where they have some of its own."""
        return cls(**{**cls.published.get(dataset, {}), **arguments})

    @abstractmethod
    def model(self, towers: Towers, context: Context, classnames: Sequence[str]) -> PromptedModel:
        """Put vectors into the towers of an encoder.

        Raises:
            EncoderError: the towers do not take them.
            ValueError: a class name does not fit.
        """

    @abstractmethod
    def settings(self, model: PromptedModel) -> dict[str, Any]:
        """The arguments that rebuild a model of this shape, as JSON."""

    def prompted(self, program: dspy.Module) -> PromptedModel:
        """Put vectors, as they are before training, into the encoder of a program.

        Returns:
            A `torch.nn.Module` in float32 whose parameters are what is learned.

        Raises:
            EncoderError: the encoder does not take them.
            ValueError: the program has no or several zero-shot predictors, or a class name does not
                fit.
        """
        predictor = only_predictor(program)
        towers = towers_of(predictor.embedder.encoder)
        init = predictor.template.text if self.init == PROGRAM else self.init
        context = Context.of(towers, init, self.n_ctx, self.position)
        return self.model(towers, context, predictor.classnames)

    @property
    def generator(self) -> torch.Generator:
        """Of what starts at random."""
        return torch.Generator().manual_seed(self.seed)


def only_predictor(program: dspy.Module) -> ZeroShotPredict:
    """Find the zero-shot predictor of a program.

    Raises:
        ValueError: there is none, or more than one.
    """
    found = zero_shot_predictors(program)
    if len(found) != 1:
        raise ValueError(
            f"{type(program).__name__} has {len(found)} CLIPPredicts; vectors are learned for a "
            "CLIPClassifier or a program with exactly one CLIPPredict."
        )
    return next(iter(found.values()))
