"""CoPrompt: MaPLe with adapters, held consistent with the frozen encoder (Roy & Etemad, 2024)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Unpack

import dspy
import torch
from torch import Tensor, nn
from torch.nn import functional

from ipo_dspy.encoders.prompted_towers import Towers
from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, NotNegative, checked
from ipo_dspy.images.examples import image_of, label_of
from ipo_dspy.optimizers.base import find_describer
from ipo_dspy.optimizers.context import INITIAL_WORDS, Context
from ipo_dspy.optimizers.maple import MaPLeModel, depth_of_official
from ipo_dspy.optimizers.prompt_learner import PromptLearner, TrainingOptions, only_predictor
from ipo_dspy.optimizers.prompted_model import (
    PromptedModel,
    depth_within,
    linear,
    unit_length,
)
from ipo_dspy.optimizers.schedule import Recipe
from ipo_dspy.programs.metrics import Metric, clip_acc
from ipo_dspy.programs.predict import ZeroShotPredict, label_field
from ipo_dspy.proposing.describers import Describer
from ipo_dspy.proposing.describing import descriptions_by_number
from ipo_dspy.runs.identity import identity
from ipo_dspy.runs.journal import EventLog

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
        sentences: Mapping[str, Sequence[str]] | None,
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
        """What the frozen encoder makes of the sentences: [S, C, D] unit length.

        Raises:
            ArgumentError: a class has no sentences, or not as many as the others.
        """
        by_class = sentences_of(self.classnames, self.sentences)
        return torch.stack(
            [unit_length(self.towers.plain_text_features(texts)) for texts in by_class], dim=1
        )

    def outcome(
        self, image_features: Tensor, labels: Tensor, teacher_features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Cross-entropy, and the angle to what the frozen encoder sees and reads."""
        if teacher_features is None:
            raise ArgumentError("CoPrompt compares with the frozen encoder; pass teacher_features.")
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


def sentences_of(
    classnames: Sequence[str], sentences: Mapping[str, Sequence[str]] | None
) -> list[Sequence[str]]:
    """Find each class's sentences; underscores in class names are spaces.

    Raises:
        ArgumentError: a class has none, or not as many as the others.
    """
    if sentences is None:
        raise ArgumentError(
            "CoPrompt compares with sentences about the classes; pass sentences={name: [...]}, or "
            "let compile make them."
        )
    sentences = {name.replace("_", " "): texts for name, texts in sentences.items()}
    names = [name.replace("_", " ") for name in classnames]
    missing = [name for name in names if not sentences.get(name)]
    if missing:
        raise ArgumentError(
            f"CoPrompt has no sentences about {len(missing)} of {len(names)} classes, such as "
            f"{missing[0]!r}; write some, under the name with spaces."
        )
    counts = {len(sentences[name]) for name in names}
    if len(counts) > 1:
        raise ArgumentError(
            f"All classes need equally many sentences, got {min(counts)} for one and "
            f"{max(counts)} for another."
        )
    return [sentences[name] for name in names]


@checked
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
        sentences: by class name, equally many about each, where the authors have an LLM's; None
            makes them of the class name and what the describer says of the training images.
        describer: see `IPOOptimizer`; None lets the encoder rank a vocabulary of visual words.
        weight: of the consistency in the loss.
        options: see `TrainingOptions`.
    """

    name = "coprompt"
    recipe = Recipe(epochs=8, batch_size=4, lr=0.0035)
    augmentation = "randaugment"
    published: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "imagenet": {"weight": 8, "n_ctx": 4, "depth": 12},
        "caltech101": {"weight": 4, "n_ctx": 4, "depth": 12},
        "oxfordpets": {"weight": 0.1, "n_ctx": 2, "depth": 12},
        "stanfordcars": {"weight": 4, "n_ctx": 4, "depth": 12},
        "flowers102": {"weight": 8, "n_ctx": 4, "depth": 9},
        "oxfordflowers": {"weight": 8, "n_ctx": 4, "depth": 9},
        "food101": {"weight": 0.5, "n_ctx": 4, "depth": 9, "epochs": 5},
        "fgvcaircraft": {"weight": 2, "n_ctx": 4, "depth": 9},
        "sun397": {"weight": 8, "n_ctx": 4, "depth": 12},
        "dtd": {"weight": 8, "n_ctx": 2, "depth": 12},
        "eurosat": {"weight": 0.1, "n_ctx": 2, "depth": 12},
        "ucf101": {"weight": 2, "n_ctx": 4, "depth": 12},
    }

    def __init__(
        self,
        metric: Metric = clip_acc,
        *,
        n_ctx: Count | None = 2,
        depth: Count | None = None,
        init: str | None = INITIAL_WORDS,
        sentences: Mapping[str, Sequence[str]] | None = None,
        describer: Describer | str | None = None,
        weight: NotNegative = 1.0,
        **options: Unpack[TrainingOptions],
    ) -> None:
        super().__init__(metric, n_ctx=n_ctx, init=init, **options)
        if sentences is not None and describer is not None:
            raise ArgumentError(
                "With sentences nothing is described; give CoPrompt sentences or describer."
            )
        self.depth = depth
        self.sentences = sentences
        self.describer = describer
        self.weight = weight

    @classmethod
    def sizes_of(cls, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        """The arguments that make tensors of the sizes of an authors' checkpoint."""
        return {**super().sizes_of(tensors), "depth": depth_of_official(tensors)}

    def model(self, towers: Towers, context: Context, classnames: Sequence[str]) -> CoPromptModel:
        """Put prompts into both towers, and adapters behind them."""
        return CoPromptModel(
            towers,
            context,
            classnames,
            self.generator,
            depth=depth_within(self.depth, towers),
            sentences=self.sentences,
            weight=self.weight,
            seed=self.seed,
        )

    def get_ready(
        self,
        model: PromptedModel,
        program: dspy.Module,
        examples: Sequence[dspy.Example],
        log: EventLog,
    ) -> None:
        """Have the training images described, where there are no sentences.

        Raises:
            SearchStoppedError: the describer cannot be used, or says nothing about a class.
            ArgumentError: a class has no sentences, or not as many as the others.
        """
        if not isinstance(model, CoPromptModel):
            raise TypeError(f"expected a CoPromptModel, got {type(model).__name__}")
        if model.sentences is None:
            predictor = only_predictor(program)
            describer = find_describer(self.describer, predictor.embedder)
            model.sentences = _described(describer, predictor, examples, log)
        model.sentences = {
            name: [_cut(model.towers, text) for text in texts]
            for name, texts in model.sentences.items()
        }
        sentences_of(model.classnames, model.sentences)

    @property
    def facts(self) -> dict[str, Any]:
        """What else decides what is learned."""
        texts = self.sentences and {name: list(texts) for name, texts in self.sentences.items()}
        describer = getattr(self.describer, "spec", self.describer)
        return {
            "weight": self.weight,
            "sentences": texts and identity(texts),
            "describer": describer or "vocabulary",
        }


def _described(
    describer: Describer,
    predictor: ZeroShotPredict,
    examples: Sequence[dspy.Example],
    log: EventLog,
) -> dict[str, list[str]]:
    """One sentence for each training image, by class, as many as the class with fewest has."""
    images = [image_of(example) for example in examples]
    texts = descriptions_by_number(describer, images, log)
    field = label_field(predictor.signature)
    by_class: dict[str, list[str]] = {name.replace("_", " "): [] for name in predictor.classnames}
    for number, text in sorted(texts.items()):
        name = str(label_of(examples[number], field)).replace("_", " ")
        by_class[name].append(f"a photo of a {name}: {text}")
    fewest = min(len(sentences) for sentences in by_class.values())
    return {name: sentences[:fewest] for name, sentences in by_class.items()}


def _cut(towers: Towers, sentence: str) -> str:
    """Leave out last words until the encoder takes the sentence."""
    words = sentence.split()
    while len(words) > 1 and towers.encoder.count_tokens([" ".join(words)])[0] > (
        towers.encoder.context_length
    ):
        words.pop()
    return " ".join(words)
