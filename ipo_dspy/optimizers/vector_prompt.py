"""A prompt that was learned: vectors in the place of words, and what else its learner trains."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from ipo_dspy.encoders.parallel import parallel_map
from ipo_dspy.encoders.prompted_towers import Towers, towers_of
from ipo_dspy.features.image_batches import ahead
from ipo_dspy.images.image import ImageSource, image_key, open_image
from ipo_dspy.optimizers.context import Context
from ipo_dspy.optimizers.nearest_words import NearestWords, nearest_words
from ipo_dspy.optimizers.prompted_model import PromptedModel
from ipo_dspy.prompts.template import Template

if TYPE_CHECKING:
    from ipo_dspy.features.embedder import Embedder

MODELS_IN_MEMORY = 8
"""Most sets of class names whose features are kept."""
IMAGES_IN_MEMORY = 65_536
"""Most images whose features are kept."""
_IMAGES_AT_ONCE_ON_GPU = 64

Build = Callable[[Towers, Context, Sequence[str]], PromptedModel]
"""Makes a model of the shape that was trained."""


@dataclass(frozen=True)
class VectorPrompt:
    """Learned tensors, the text around the class names, and how to put them into an encoder.

    Never changes; copies are the same object. What it computed is kept while it is in use.

    Attributes:
        learner: the name of what trained it.
        settings: the learner's arguments that rebuild a model of this shape, as JSON.
        context: how many vectors stand in the text, and the text behind them.
        classnames: the names it was learned with.
        tensors: what was learned, on the CPU.
        build: makes a model of this shape.
    """

    learner: str
    settings: Mapping[str, Any]
    context: Context
    classnames: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    build: Build
    _memory: _Memory = field(default_factory=lambda: _Memory(), compare=False, repr=False)

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __run_identity__(self) -> object:
        return self.dump_state(), dict(self.tensors)

    @property
    def text(self) -> Template:
        """The words that stand between the vectors and the class name, and behind it."""
        return self.context.text

    def around(self, text: Template) -> VectorPrompt:
        """The same vectors with other words between them and the class name."""
        if text == self.context.text:
            return self
        return replace(self, context=replace(self.context, text=text))

    def class_features(self, embedder: Embedder, classnames: Sequence[str]) -> Tensor:
        """Encode the classes: [C, D] unit length, on the CPU.

        Raises:
            ArgumentError: a class name does not fit, or the tensors do not fit the encoder.
            EncoderError: the encoder does not take learned vectors.
        """
        with self._memory.lock, torch.inference_mode():
            key = ("classes", self.context, embedder.encoder.spec, tuple(classnames))
            known = self._memory.classes
            if key not in known:
                _bound(known, MODELS_IN_MEMORY)
                known[key] = self.model(embedder, classnames).class_features().float().cpu()
            return known[key]

    def image_features(self, embedder: Embedder, images: Sequence[ImageSource]) -> Tensor:
        """Encode images: [N, D] unit length, on the CPU; prompts in the image tower count.

        Raises:
            UnreadableImage: an image cannot be read.
        """
        model = self._model_of(embedder)
        if model.image_tower_is_plain:
            return embedder.image_features(images)
        with self._memory.lock, torch.inference_mode():
            known = self._memory.images
            keys: list[Hashable] = [(embedder.encoder.spec, image_key(image)) for image in images]
            new = {key: image for key, image in zip(keys, images, strict=True) if key not in known}
            features = dict(zip(new, _encode(model, list(new.values())), strict=True))
            found = torch.stack([known[key] if key in known else features[key] for key in keys])
            _bound(known, IMAGES_IN_MEMORY)
            known.update(features)
            return found

    def logits(
        self, embedder: Embedder, image_features: Tensor, classnames: Sequence[str]
    ) -> Tensor:
        """Classify images by their features [N, D]: [N, C] on the CPU."""
        model = self._model_of(embedder)
        if not model.classes_depend_on_image:
            return embedder.logits(image_features, self.class_features(embedder, classnames))
        with torch.inference_mode():
            model = self.model(embedder, classnames)
            rows = image_features.to(model.towers.device).split(1)
            # One by one, so that an image gets the same beside others.
            return torch.cat(parallel_map([partial(model.compare, row) for row in rows])).cpu()

    def _model_of(self, embedder: Embedder) -> PromptedModel:
        """A model for the images, whatever the classes."""
        return self._memory.model_of(
            embedder.encoder.spec, lambda: self.model(embedder, self.classnames)
        )

    def model(self, embedder: Embedder, classnames: Sequence[str]) -> PromptedModel:
        """Put the tensors into an encoder.

        Raises:
            ArgumentError: a class name does not fit, or the tensors do not fit the encoder.
            EncoderError: the encoder does not take learned vectors.
        """
        towers = towers_of(embedder.encoder)
        with torch.inference_mode(mode=False):
            model = self.build(towers, self.context, self.classnames)
            model.learn(self.tensors)
            return model.for_classes(classnames)

    def nearest_words(self, embedder: Embedder) -> NearestWords:
        """Find the tokens nearest to the learned vectors that stand in the text."""
        return nearest_words(towers_of(embedder.encoder), self.tensors["vectors"])

    def dump_state(self) -> dict[str, Any]:
        """Give what rebuilds it, but for the tensors, as JSON."""
        context = self.context
        return {
            "learner": self.learner,
            "settings": dict(self.settings),
            "text": context.text.text,
            "n_ctx": context.n,
            "position": context.position,
            "classnames": list(self.classnames),
        }


@dataclass
class _Memory:
    """What was computed, by what it was computed of."""

    classes: dict[Hashable, Tensor] = field(default_factory=dict)
    images: dict[Hashable, Tensor] = field(default_factory=dict)
    models: dict[str, PromptedModel] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def model_of(self, spec: str, build: Callable[[], PromptedModel]) -> PromptedModel:
        """The model for an encoder, made once."""
        with self.lock:
            if spec not in self.models:
                self.models[spec] = build()
            return self.models[spec]

    def __reduce__(self) -> tuple[type[_Memory], tuple[()]]:
        # What is pickled is only what was learned.
        return (_Memory, ())


def _encode(model: PromptedModel, images: Sequence[ImageSource]) -> Sequence[Tensor]:
    """Encode images by towers with prompts in them: for each [D], on the CPU."""
    if not images:
        return ()
    towers = model.towers

    def prepare(image: ImageSource) -> Tensor:
        return towers.encoder.prepare_image(open_image(image))

    def encode(image: ImageSource) -> Tensor:
        return model.image_features(prepare(image))[0]

    if towers.device.type == "cpu":
        # One by one, so that an image gets the same bits beside others.
        return parallel_map([partial(encode, image) for image in images])
    ready = ahead(prepare, images, most=2 * _IMAGES_AT_ONCE_ON_GPU)
    encoded = []
    while batch := list(islice(ready, _IMAGES_AT_ONCE_ON_GPU)):
        encoded.append(model.image_features(torch.cat(batch).to(towers.device)).cpu())
    return torch.cat(encoded).unbind()


def _bound(known: dict[Hashable, Tensor], most: int) -> None:
    """Forget what came first, where there is too much."""
    while len(known) >= most:
        known.pop(next(iter(known)))
