"""What a program classifies with: a text, or tensors that stand among the words of one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

from ipo_dspy.prompts.class_texts import ClassTexts, behind
from ipo_dspy.prompts.template import Template
from ipo_dspy.registry import find

if TYPE_CHECKING:
    from torch import Tensor

    from ipo_dspy.features.embedder import Embedder
    from ipo_dspy.images.image import ImageSource


class Prompt(Protocol):
    """Turns class names and images into features that an encoder compares."""

    def class_features(self, embedder: Embedder, classnames: Sequence[str]) -> Tensor:
        """Encode the classes: [C, D] unit length, on the CPU."""

    def image_features(self, embedder: Embedder, images: Sequence[ImageSource]) -> Tensor:
        """Encode images: [N, D] unit length, on the CPU; prompts may stand in the image tower."""

    def logits(
        self, embedder: Embedder, image_features: Tensor, classnames: Sequence[str]
    ) -> Tensor:
        """Classify images by their features [N, D]: [N, C]; the classes may depend on the image."""


class LearnedPrompt(Prompt, Protocol):
    """Tensors that an optimizer learned; never changes, and copies are the same object."""

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """What was learned, by name, on the CPU."""

    @property
    def text(self) -> Template:
        """The words that stand beside the learned vectors."""

    def around(self, text: Template) -> Self:
        """The same tensors with other words beside them."""

    def nearest_words(self, embedder: Embedder) -> object:
        """Say in words what was learned; the result is readable as text."""

    def dump_state(self) -> dict[str, Any]:
        """Give as JSON what `load_learned` needs beside the tensors; `learner` names the optimizer.

        The registry must find that optimizer, and it must have a method `load_prompt(state,
        tensors)` that gives the prompt again.
        """


class FixedFeatures(ABC):
    """A prompt that gives each class one feature, and images those of the encoder."""

    @abstractmethod
    def class_features(self, embedder: Embedder, classnames: Sequence[str]) -> Tensor:
        """Encode the classes: [C, D], on the CPU."""

    def image_features(self, embedder: Embedder, images: Sequence[ImageSource]) -> Tensor:
        """Encode images as the encoder does: [N, D] unit length."""
        return embedder.image_features(images)

    def logits(
        self, embedder: Embedder, image_features: Tensor, classnames: Sequence[str]
    ) -> Tensor:
        """Classify images by their features [N, D]: [N, C]."""
        return embedder.logits(image_features, self.class_features(embedder, classnames))


@dataclass(frozen=True)
class TextPrompt(FixedFeatures):
    """A template, filled with each class name; several lines are an ensemble.

    Attributes:
        template: of all classes.
        class_texts: descriptions by class name. A class that has some is the mean of the template
            alone and with each of them behind it; those with which the text is too long for the
            encoder are left out.
    """

    template: Template
    class_texts: ClassTexts = field(default_factory=dict)

    def class_features(self, embedder: Embedder, classnames: Sequence[str]) -> Tensor:
        """Encode the filled template, with what describes each class: [C, D] unit length."""
        if not any(self.class_texts.get(name) for name in classnames):
            return embedder.text_features(self.template, classnames)
        return embedder.class_features([self.texts(embedder, name) for name in classnames])

    def texts(self, embedder: Embedder, class_name: str) -> list[str]:
        """The texts that stand for a class."""
        filled = self.template.fill(class_name)
        texts = [
            behind(text, description)
            for text in filled
            for description in self.class_texts.get(class_name, ())
        ]
        tokens = embedder.encoder.count_tokens(texts) if texts else []
        fitting = [
            text
            for text, count in zip(texts, tokens, strict=True)
            if count <= embedder.context_length
        ]
        return [*filled, *fitting]


def load_learned(state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LearnedPrompt:
    """Rebuild a learned prompt from what `dump_state` gave and its tensors.

    Raises:
        UnknownNameError: no optimizer of that name is there.
        ArgumentError: the state is not that optimizer's.
    """
    prompt: LearnedPrompt = find("optimizers", str(state["learner"])).load_prompt(state, tensors)
    return prompt
