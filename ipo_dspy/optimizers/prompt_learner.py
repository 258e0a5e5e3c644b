"""What all gradient prompt learners share: they train vectors instead of searching for words."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self, TypedDict, Unpack

import dspy
import torch
from dspy.teleprompt import Teleprompter
from dspy.utils import BaseCallback

from ipo_dspy.encoders.device import PRECISIONS
from ipo_dspy.encoders.prompted_towers import Towers, towers_of
from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, Positive, checked
from ipo_dspy.images.examples import label_of, required_image
from ipo_dspy.images.names import check_several, saved_classnames
from ipo_dspy.optimizers.base import copy_to_optimize, open_run, training_examples, whole_seed
from ipo_dspy.optimizers.checkpoint import Epoch
from ipo_dspy.optimizers.context import INITIAL_WORDS, Context, Position
from ipo_dspy.optimizers.prompted_model import PromptedModel, official_tensors
from ipo_dspy.optimizers.schedule import GaussianAverage, Recipe
from ipo_dspy.optimizers.training import Training
from ipo_dspy.optimizers.vector_prompt import VectorPrompt
from ipo_dspy.optimizers.views import Augmentation, Views
from ipo_dspy.programs.metrics import Metric, clip_acc
from ipo_dspy.programs.predict import ZeroShotPredict, label_field, zero_shot_predictors
from ipo_dspy.programs.probabilities import class_indices
from ipo_dspy.prompts.template import Template
from ipo_dspy.runs.budget import Budget
from ipo_dspy.runs.events import Sense
from ipo_dspy.runs.identity import Examples, Part, RunIdentity, Setting, Thing
from ipo_dspy.runs.journal import EventLog, Journal, NoJournal
from ipo_dspy.scoring.evaluate import BatchEvaluate
from ipo_dspy.search.results import attach

logger = logging.getLogger(__name__)

CHECKPOINT = "training.safetensors"
"""File of a run folder with the training after its last finished epoch."""
PROGRAM = "program"
"""As `init`: start from the template of the program."""
_BEYOND_TORCH = 2**63


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

    epochs: Count
    batch_size: Count
    lr: Positive
    augmentation: Augmentation
    precision: str
    seed: int
    budget: Budget | None
    run_dir: str | Path | None
    progress: bool | None
    on_epoch: Callable[[Epoch], None] | None
    track_stats: bool
    callbacks: Sequence[BaseCallback] | None


@dataclass(frozen=True)
class TrainingResults:
    """How a training went; `program.detailed_results` holds one.

    Attributes:
        epochs: those that were finished, earlier runs in the same folder included.
        ended_by: what ended it.
        parameters: how many numbers were learned.
    """

    epochs: tuple[Epoch, ...]
    ended_by: str
    parameters: int


@checked
class PromptLearner(Teleprompter, ABC):
    """Learns vectors by gradient descent on labelled images, the encoder staying as it is.

    Args:
        metric: scores the learned program on the validation set, where there is one; what is
            trained is the cross-entropy.
        n_ctx: how many vectors stand in the text; None takes as many as `init` has words.
        init: words that the vectors start as, a template, `program` for the template of the
            program, or None to start at random.
        position: where the class name stands: behind the vectors, in their middle or before them.
        options: see `TrainingOptions`.
    """

    name: ClassVar[str]
    """What it is called in files and on the command line."""
    recipe: ClassVar[Recipe]
    """What its authors train with."""
    augmentation: ClassVar[Augmentation] = "crop"
    """What its authors let a step see."""
    average: GaussianAverage | None = None
    """How its authors average over epochs; None keeps the last one."""
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """The authors' arguments for single datasets, by their name without case, `-` and `_`."""
    transferred: ClassVar[Mapping[str, Any]] = {}
    """The authors' arguments for training on one dataset and testing on others."""

    def __init__(
        self,
        metric: Metric = clip_acc,
        *,
        n_ctx: Count | None = None,
        init: str | None = INITIAL_WORDS,
        position: Position = "end",
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__()
        if init is not None and not init.strip():
            raise ArgumentError(
                f"init must be words, such as {INITIAL_WORDS!r}, or None to start at random, got "
                f"{init!r}."
            )
        self.metric = metric
        self.n_ctx = n_ctx
        self.init = init
        self.position = position
        self.training = replace(
            self.recipe,
            epochs=options.get("epochs", self.recipe.epochs),
            batch_size=options.get("batch_size", self.recipe.batch_size),
            lr=options.get("lr", self.recipe.lr),
        )
        self.views: Augmentation = options.get("augmentation", self.augmentation)
        self.precision = options.get("precision", "float32")
        if self.precision not in PRECISIONS:
            raise ArgumentError(
                f"precision must be one of {', '.join(PRECISIONS)}, got {self.precision!r}."
            )
        self.seed = whole_seed(options.get("seed", 0))
        self.budget = options.get("budget") or Budget()
        run_dir = options.get("run_dir")
        self.run_dir = None if run_dir is None else Path(run_dir).expanduser()
        self.progress = options.get("progress")
        self.on_epoch = options.get("on_epoch")
        self.track_stats = options.get("track_stats", True)
        callbacks = options.get("callbacks")
        self.callbacks = [] if callbacks is None else list(callbacks)

    @classmethod
    def for_dataset(cls, dataset: str, **arguments: Any) -> Self:
        """Make one with the authors' arguments for a dataset, where they have some of its own.

        Args:
            dataset: its name, in which letter case, `-` and `_` do not matter.
            arguments: come before the authors'.
        """
        name = dataset.lower().replace("-", "").replace("_", "")
        return cls(**{**cls.published.get(name, {}), **arguments})

    @classmethod
    def for_transfer(cls, **arguments: Any) -> Self:
        """Make one with the authors' arguments for training on one dataset and testing on others.

        Args:
            arguments: come before the authors'.
        """
        return cls(**{**cls.transferred, **arguments})

    @abstractmethod
    def model(self, towers: Towers, context: Context, classnames: Sequence[str]) -> PromptedModel:
        """Put vectors into the towers of an encoder.

        Raises:
            EncoderError: the towers do not take them.
            ArgumentError: a class name does not fit.
        """

    def get_ready(
        self,
        model: PromptedModel,
        program: dspy.Module,
        examples: Sequence[dspy.Example],
        log: EventLog,
    ) -> None:
        """Give the model what its loss needs beside images and labels; what is asked for is logged.

        Raises:
            SearchStoppedError: it cannot be had.
        """

    @property
    def facts(self) -> dict[str, Any]:
        """What else than the model's settings and the recipe decides what is learned, as JSON."""
        return {}

    def get_params(self) -> dict[str, Any]:
        """Give the settings; changing the answer changes nothing here."""
        return dict(vars(self))

    def prompted(self, program: dspy.Module) -> PromptedModel:
        """Put vectors, as they are before training, into the encoder of a program.

        Returns:
            A `torch.nn.Module` in float32 whose parameters are what is learned.

        Raises:
            EncoderError: the encoder does not take them.
            ArgumentError: the program has no or several zero-shot predictors, or a class name does
                not fit.
        """
        predictor = only_predictor(program)
        towers = towers_of(predictor.embedder.encoder)
        init = predictor.template.text if self.init == PROGRAM else self.init
        context = Context.of(towers, init, self.n_ctx, self.position)
        return self.model(towers, context, predictor.classnames)

    def compile(
        self,
        student: dspy.Module,
        *,
        trainset: Sequence[dspy.Example] | None = None,
        teacher: dspy.Module | None = None,
        valset: Sequence[dspy.Example] | None = None,
    ) -> dspy.Module:
        """Train, and give a copy of the student that classifies with what was learned.

        The student is not changed, and its encoder is shared. There is no choice among epochs: as
        with the authors, the last one counts, or the average of all.

        Args:
            student: a `CLIPClassifier`, or any program around one.
            trainset: labelled images; None takes `student.trainset`.
            teacher: not used; taken because other optimizers take one.
            valset: what `score` is measured on; None takes the last epoch's own accuracy.

        Raises:
            ArgumentError: there is no training set, a label is no class name, or a class name does
                not fit.
            EncoderError: the encoder does not take learned vectors.
            TrainingError: the loss is not finite, or the checkpoint cannot be read.
            StorageError: the checkpoint cannot be written.
            JournalError: the run folder belongs to another training or cannot be written.
        """
        examples = training_examples(student, trainset)
        program = copy_to_optimize(student)
        predictor = only_predictor(program)
        check_several(predictor.classnames)
        labels = _class_indices(predictor, examples)
        images = [required_image(example) for example in examples]
        self._check_validation(program, predictor, valset)
        model = self.prompted(program)
        with self._open_journal(predictor, model, examples) as journal:
            self.get_ready(model, program, examples, journal)
            training = Training(
                model=model,
                recipe=self.training,
                images=images,
                labels=labels,
                views=Views(model.towers, self.views, self.seed),
                seed=self.seed,
                precision=self.precision,
                average=self.average,
                checkpoint=self.run_dir and self.run_dir / CHECKPOINT,
                seconds=self.budget.seconds,
                progress=self.progress,
                on_epoch=self.on_epoch,
            )
            epochs, ended_by = training.run()
        predictor.use_learned(self._prompt(model))
        if self.track_stats:
            results = TrainingResults(epochs, ended_by, count_parameters(model))
            self._attach(program, results, valset)
        return program

    def _check_validation(
        self,
        program: dspy.Module,
        predictor: ZeroShotPredict,
        valset: Sequence[dspy.Example] | None,
    ) -> None:
        """Try what comes after the training before it: labels, images and the metric."""
        if not valset:
            return
        _class_indices(predictor, valset)
        for example in valset:
            required_image(example)
        BatchEvaluate(devset=valset[:1], metric=self.metric, max_errors=1)(program)

    def _prompt(self, model: PromptedModel) -> VectorPrompt:
        settings = model.settings
        return VectorPrompt(
            self.name,
            settings,
            model.context,
            model.classnames,
            model.learned(),
            type(self)(**settings).model,
        )

    @classmethod
    def load_prompt(
        cls, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]
    ) -> VectorPrompt:
        """Rebuild what `compile` learned from its saved state and tensors.

        Raises:
            ArgumentError: the state is none of this learner's.
        """
        try:
            settings = _of_shape(state["settings"])
            context = Context(
                Template(state["text"]), int(state["n_ctx"]), position=state["position"]
            )
            classnames = saved_classnames(state["classnames"])
            learner = cls(**settings)
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            raise ArgumentError(
                f"This is no prompt that {cls.__name__} learned: {error}."
            ) from error
        return VectorPrompt(cls.name, settings, context, classnames, tensors, learner.model)

    @classmethod
    def of_official(cls, state_dict: Mapping[str, Any]) -> Self:
        """Make one with the sizes that an authors' checkpoint has, so that it can load it.

        Raises:
            ArgumentError: the checkpoint is none of this method.
        """
        tensors = official_tensors(state_dict)
        vectors = tensors.get("ctx")
        if vectors is None:
            raise ArgumentError(
                f"This is no checkpoint of {cls.__name__}: it has no tensor called ctx, but "
                f"{', '.join(list(tensors)[:4]) or 'none that is learned'}."
            )
        return cls(**cls.sizes_of(tensors))

    @classmethod
    def sizes_of(cls, tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """The arguments that make tensors of the sizes of an authors' checkpoint.

        Args:
            tensors: as `official_tensors` gives them; `ctx` is among them.
        """
        return {"n_ctx": tensors["ctx"].shape[-2]}

    def load_official(self, student: dspy.Module, state_dict: Mapping[str, Any]) -> dspy.Module:
        """Give a copy of the student that classifies with one of the authors' checkpoints.

        Args:
            student: with the CLIP that the checkpoint was trained with.
            state_dict: what the checkpoint holds; read it with `torch.load(weights_only=True)`.

        Raises:
            ArgumentError: the checkpoint is none of this method, or of other sizes.
        """
        program = student.deepcopy()
        only_predictor(program).use_learned(self.official_prompt(program, state_dict))
        return program

    def official_prompt(self, program: dspy.Module, state_dict: Mapping[str, Any]) -> VectorPrompt:
        """Give what one of the authors' checkpoints learned; see `load_official`."""
        model = self.prompted(program)
        model.load_official(state_dict)
        return self._prompt(model)

    @property
    def generator(self) -> torch.Generator:
        """Of what starts at random."""
        fits = -_BEYOND_TORCH <= self.seed < _BEYOND_TORCH
        return torch.Generator().manual_seed(self.seed if fits else self.seed % _BEYOND_TORCH)

    def _open_journal(
        self, predictor: ZeroShotPredict, model: PromptedModel, examples: Sequence[dspy.Example]
    ) -> AbstractContextManager[Journal | NoJournal]:
        encoder = predictor.embedder.encoder
        context = model.context
        images = ("image", "images")
        start = [context.words, context.text.text, context.n, context.position]
        parts: list[Part] = [
            Setting("optimizer", "another optimizer", self.name),
            Examples("training", images, "training images", examples),
            Setting("encoder", "another encoder", encoder.spec),
            Thing("weights", "other weights", model.towers.encoder.image_fingerprint),
            Setting("class_names", "other class names", predictor.classnames),
            Setting("initial", "another beginning of the context", start),
            Thing("settings", "other settings of the learner", model.settings | self.facts),
            Setting("recipe", "another training", asdict(self.training)),
            Setting("average", "another average", self.average and asdict(self.average)),
            Setting("augmentation", "other views of the images", self.views),
            Setting("precision", "another precision", self.precision),
            Setting("seed", "another seed", self.seed),
        ]
        if self.run_dir is None:
            return open_run(None)
        return open_run(self.run_dir, RunIdentity(parts), Sense(images=len(examples)))

    def _attach(
        self,
        program: dspy.Module,
        results: TrainingResults,
        valset: Sequence[dspy.Example] | None,
    ) -> None:
        score = results.epochs[-1].accuracy if results.epochs else None
        if valset:
            score = BatchEvaluate(devset=list(valset), metric=self.metric)(program).score
        logs = {epoch.epoch: epoch.model_dump() for epoch in results.epochs}
        attach(program, {"score": score, "trial_logs": logs, "detailed_results": results})


def only_predictor(program: dspy.Module) -> ZeroShotPredict:
    """Find the zero-shot predictor of a program.

    Raises:
        ArgumentError: there is none, or more than one.
    """
    found = zero_shot_predictors(program)
    if len(found) != 1:
        raise ArgumentError(
            f"{type(program).__name__} has {len(found)} CLIPPredicts; vectors are learned for a "
            "CLIPClassifier or a program with exactly one CLIPPredict."
        )
    return next(iter(found.values()))


def count_parameters(model: PromptedModel) -> int:
    """How many numbers are learned."""
    return sum(parameter.numel() for parameter in model.parameters())


def _class_indices(predictor: ZeroShotPredict, examples: Sequence[dspy.Example]) -> list[int]:
    field = label_field(predictor.signature)
    return class_indices(predictor.classnames, [label_of(example, field) for example in examples])


def _of_shape(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a saved prompt: plain ones, and none of how a learner trains.

    Raises:
        ArgumentError: others are among them.
    """
    for name, value in settings.items():
        if name in TrainingOptions.__annotations__ or not isinstance(
            value, bool | int | float | str | None
        ):
            raise ArgumentError(f"a saved prompt has no setting {name}={value!r:.40}")
    return dict(settings)
