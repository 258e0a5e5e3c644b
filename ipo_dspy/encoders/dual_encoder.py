"""What the built-in encoders share: batches, precision, unit length, and being one object."""

from __future__ import annotations

import json
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeAlias

import PIL.Image
import torch
from torch import Tensor, nn
from torch.nn import functional

from ipo_dspy.encoders.device import BatchSize, autocast
from ipo_dspy.encoders.fast import (
    FastPathOffError,
    MisfitError,
    fast_text_tower,
    read_text_tower,
)
from ipo_dspy.encoders.loading import load_encoder
from ipo_dspy.encoders.parallel import parallel_map
from ipo_dspy.encoders.weights import weights_digest
from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.errors.arguments import Dimensions, checked

if TYPE_CHECKING:
    from ipo_dspy.encoders.base import Encoder
    from ipo_dspy.encoders.fast.tower import CausalTextTower

_logger = logging.getLogger(__name__)

Pixels: TypeAlias = Tensor | Mapping[str, Tensor]
"""Images as an image tower takes them, the first axis counting images."""

_IMAGES_AT_ONCE = 64
# More are hardly faster, and the last bits would depend on which images come together.
_IMAGES_AT_ONCE_ON_CPU = 1
_TEXTS_AT_ONCE = 128
# A GPU needs many tokens to be busy; on a CPU more would only leave the caches.
_TOKENS_AT_ONCE = 16384
_TOKENS_AT_ONCE_ON_CPU = 2048
_TOLD_APART = ("a photo of a cat", "a photo of a dog")
_TRIED_TEXTS = ("a photo of a cat.", "a photo of two dogs, asleep in the snow", "a cat")


class DualEncoder(ABC):
    """An encoder around a model of a library; safe to use from several threads.

    Copies are the same object, and pickling keeps how to load it, device and precision included:
    weights are never duplicated.

    Args:
        spec: the text that rebuilds it through `load_encoder`.
        model: the library's model, in evaluation mode and on `device`; it is used as it is, and its
            weights must not change while the encoder is in use.
        context_length: most tokens a text may have.
        device: as torch spells it.
        precision: `float32`, `bfloat16` or `float16`.

    Raises:
        ArgumentError: the model is in training mode, or on another device.
    """

    def __init__(
        self,
        spec: str,
        model: nn.Module,
        *,
        context_length: int,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        self.spec = spec
        self.context_length = context_length
        self.device = torch.device(device)
        self.precision = precision
        self.model = _as_it_must_be(model, self.device)
        self._texts_at_once = BatchSize(_TEXTS_AT_ONCE)
        on_cpu = self.device.type == "cpu"
        self._images_at_once = BatchSize(_IMAGES_AT_ONCE_ON_CPU if on_cpu else _IMAGES_AT_ONCE)
        self._tokens_at_once = BatchSize(_TOKENS_AT_ONCE_ON_CPU if on_cpu else _TOKENS_AT_ONCE)
        self._tower_lock = threading.Lock()
        self._text_path = ""
        self._tower: CausalTextTower | None = None

    @abstractmethod
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, start and end included, never truncated."""

    @property
    @abstractmethod
    def preprocessing(self) -> str:
        """Stable text that tells how images are prepared; part of the key of cached features."""

    @abstractmethod
    def prepare_image(self, image: PIL.Image.Image) -> Pixels:
        """Prepare one RGB image for `encode_prepared`; several threads may do so at once."""

    @abstractmethod
    def _image_tower(self, pixels: Any) -> Tensor:
        """Run the library's own image tower: [N, D], any length."""

    @abstractmethod
    def _tokenize(self, texts: Sequence[str]) -> Tensor:
        """Give the library's own token ids, padded as the model was trained: [T, L], on the CPU.

        Texts that are too long may be cut.
        """

    @abstractmethod
    def _text_tower(self, tokens: Tensor) -> Tensor:
        """Run the library's own text tower: [T, D], any length."""

    def _read_text_tower(self) -> CausalTextTower:
        """Read the library's text tower for the fast path.

        Raises:
            FastPathOffError: the fast path does not compute what it does.
        """
        return read_text_tower(self.model)

    @property
    def text_path(self) -> str:
        """`fast`, or why texts go through the library's own text tower."""
        self._fast_tower()
        return self._text_path

    @abstractmethod
    def _scale_and_bias(self) -> tuple[Tensor, Tensor | None]:
        """The factor and the offset of the logits."""

    @cached_property
    def image_fingerprint(self) -> str:
        """Stable text that differs wherever image features could; the key of cached features."""
        parts = [self.spec, self.preprocessing, self.precision, weights_digest(self.model)]
        return json.dumps(parts)

    @checked
    def encode_images(self, images: Sequence[PIL.Image.Image]) -> Tensor:
        """Encode RGB images: [N, D] float32 on the CPU, unit length.

        An encoder on the CPU gives an image the same bits whatever other images come with it.

        Raises:
            ArgumentError: no images.
        """
        if not images:
            raise ArgumentError("encode_images needs at least one image; got none")
        if self.device.type == "cpu":
            return torch.cat(parallel_map([partial(self._encode, [each]) for each in images]))
        return self._images_at_once.run(images, self._encode)

    def encode_prepared(self, prepared: Sequence[Pixels]) -> Tensor:
        """Encode images that `prepare_image` prepared: [N, D] float32 on the CPU, unit length."""
        return self._images_at_once.run(prepared, self._encode_batch)

    @checked
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode texts: [T, D] float32 on the CPU, unit length.

        Raises:
            ArgumentError: no texts, or one that is too long for the model.
        """
        if not texts:
            raise ArgumentError("encode_texts needs at least one text; got none")
        return self.encode_templates([texts])[0]

    def encode_templates(self, groups: Sequence[Sequence[str]], *, exact: bool = False) -> Tensor:
        """Encode several templates, each filled with every class name: [G, C, D] unit length.

        They are float32 and on the CPU. Small groups share passes, which on some machines moves the
        last bits of a group's features with the other groups.

        Args:
            groups: for every template its C texts, in the order of the class names.
            exact: give a group the same bits whatever other groups come with it, on all machines.

        Raises:
            ArgumentError: no groups, no class names, groups of different sizes, or a text that is
                too long.
        """
        if not groups:
            raise ArgumentError("encode_templates needs at least one group of texts; got none")
        sizes = sorted({len(group) for group in groups})
        if sizes[0] == 0:
            raise ArgumentError("encode_templates needs a text per class name; got a group of none")
        if len(sizes) > 1:
            raise ArgumentError(
                "encode_templates needs groups of one size, a text per class name; got "
                f"groups of {sizes[0]} and of {sizes[-1]} texts"
            )
        tower = self._fast_tower()
        with torch.no_grad():
            if exact or tower is None or len(groups) == 1:
                encoded = [self._encode_group(group, tower) for group in groups]
            else:
                tokens = [self._fitting_tokens(group, tower) for group in groups]
                together = partial(tower.encode_together, tokens)
                encoded = [_unit_length(each) for each in self._tokens_at_once.attempt(together)]
            return torch.stack(encoded).cpu()

    @checked
    def logits(
        self,
        image_features: Annotated[Tensor, Dimensions(2)],
        text_features: Annotated[Tensor, Dimensions(2)],
    ) -> Tensor:
        """Compare [N, D] image features with [C, D] text features: [N, C] logits.

        They carry a graph where the features or the model's scale do.
        """
        if image_features.shape[-1] != text_features.shape[-1]:
            raise ArgumentError(
                "image_features and text_features must have as many columns, got "
                f"{tuple(image_features.shape)} and {tuple(text_features.shape)}."
            )
        scale, bias = self._scale_and_bias()
        logits = image_features @ text_features.T * scale.to(image_features.device)
        return logits if bias is None else logits + bias.to(image_features.device)

    def _encode(self, images: Sequence[PIL.Image.Image]) -> Tensor:
        return self._encode_batch([self.prepare_image(image) for image in images])

    def _encode_batch(self, prepared: Sequence[Pixels]) -> Tensor:
        with torch.no_grad():
            pixels = _joined(prepared, self.device)
            with autocast(self.device, self.precision):
                features = self._image_tower(pixels)
            return _unit_length(features).cpu()

    def _encode_group(self, texts: Sequence[str], tower: CausalTextTower | None) -> Tensor:
        """Encode texts without those of other groups, so that these cannot change a bit."""
        if tower is None:
            self._refuse_long(texts)
            return self._texts_at_once.run(texts, self._encode_text_batch)
        return self._run_tower(tower, self._fitting_tokens(texts, tower))

    def _fitting_tokens(self, texts: Sequence[str], tower: CausalTextTower) -> Tensor:
        tokens = self._tokenize(texts)
        # A text that fills its row may have been cut; the others are all there.
        full = (tower.ends(tokens) == tokens.shape[1] - 1).nonzero().flatten().tolist()
        self._refuse_long([texts[index] for index in full])
        return tokens

    def _run_tower(self, tower: CausalTextTower, tokens: Tensor) -> Tensor:
        return _unit_length(self._tokens_at_once.attempt(partial(tower.encode, tokens)))

    def _encode_text_batch(self, texts: Sequence[str]) -> Tensor:
        with torch.no_grad():
            tokens = self._tokenize(texts).to(self.device)
            with autocast(self.device, self.precision):
                features = self._text_tower(tokens)
            return _unit_length(features)

    def _fast_tower(self) -> CausalTextTower | None:
        """The tower that replaces the library's own, if any; found out at the first text."""
        with self._tower_lock:
            if not self._text_path:
                self._tower, self._text_path = self._try_fast_tower()
            return self._tower

    @torch.no_grad()
    def _try_fast_tower(self) -> tuple[CausalTextTower | None, str]:
        """The tower, if any, and what `text_path` says of it."""
        tokens = self._tokenize(_TRIED_TEXTS)
        try:
            tower = fast_text_tower(
                self._read_text_tower,
                lambda tower: self._run_tower(tower, tokens),
                lambda: _unit_length(self._text_tower(tokens.to(self.device))),
            )
        except FastPathOffError as off:
            level = logging.WARNING if isinstance(off, MisfitError) else logging.INFO
            _logger.log(level, "The fast text path of %s is off: %s", self.spec, off)
            return None, f"off: {off}"
        return tower.to(getattr(torch, self.precision)), "fast"

    def _refuse_long(self, texts: Sequence[str]) -> None:
        for text, count in zip(texts, self.count_tokens(texts), strict=True):
            if count > self.context_length:
                raise ArgumentError(
                    f"{self.spec} takes at most {self.context_length} tokens, but this text has "
                    f"{count}; shorten it: {text!r}"
                )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Callable[[str], Encoder], tuple[str]]:
        load = partial(load_encoder, device=str(self.device), precision=self.precision)
        return (load, (self.spec,))


def check_texts(encoder: DualEncoder) -> None:
    """Check that an encoder tells texts apart, which it does not without its tokenizer's files.

    Raises:
        EncoderError: different texts have the same tokens, or the same features.
    """
    tokens, features = encoder._tokenize(_TOLD_APART), encoder.encode_texts(_TOLD_APART)
    if torch.equal(*tokens) or torch.equal(*features):
        raise EncoderError(
            f"{encoder.spec} cannot be used: it takes {_TOLD_APART[0]!r} for {_TOLD_APART[1]!r}; "
            "check that the files of its tokenizer are there, and that its weights are trained ones"
        )


def frozen(model: nn.Module, device: str) -> nn.Module:
    """Make a model that was loaded here ready: on the device, for evaluation, without gradients."""
    return model.to(device).eval().requires_grad_(False)


def _as_it_must_be(model: nn.Module, device: torch.device) -> nn.Module:
    name = type(model).__name__
    if model.training:
        raise ArgumentError(
            f"The {name} is in training mode, in which features change from call to call; call "
            "model.eval() first."
        )
    found = next((weight.device for weight in model.parameters()), device)
    if (found.type, found.index or 0) != (device.type, device.index or 0):
        raise ArgumentError(
            f"The {name} is on {found}, not on {device}; call model.to({str(device)!r}) first, or "
            f"pass device={str(found)!r}."
        )
    return model


def _joined(prepared: Sequence[Any], device: torch.device) -> Any:
    if isinstance(prepared[0], Tensor):
        return torch.cat(list(prepared)).to(device)
    return {name: _joined([each[name] for each in prepared], device) for name in prepared[0]}


def _unit_length(features: Tensor) -> Tensor:
    return functional.normalize(features.float(), dim=-1)
