"""An encoder with learned vectors in it: what all prompt learners train."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from ipo_dspy.encoders.prompted_towers import Towers
from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.optimizers.context import SPREAD, Context

Teacher = Literal["none", "same view", "second view"]
"""Which pixels the frozen encoder sees in training."""

DEPTH = 9
"""In how many layers MaPLe and its kin put prompts."""
_LEARNER = "prompt_learner."
_IGNORED = (
    "token_prefix",
    "token_suffix",
    "image_encoder.",
    "text_encoder.",
    "logit_scale",
    "ZS_image_encoder.",
    "model_distill.",
)


class PromptedModel(nn.Module):
    """The towers of an encoder and the tensors that are learned, which alone have gradients.

    `step` is the number of the training's step, for learners that draw in each.

    Args:
        towers: of the encoder, which is shared and not changed.
        context: how many vectors are learned, and the text behind them.
        classnames: C names.
        generator: of what starts at random.

    Raises:
        ArgumentError: a class name does not fit into the text.
        EncoderError: the encoder's image tower takes no prompts, and the model needs some.
    """

    image_tower_is_plain: ClassVar[bool] = True
    """Whether image features do not depend on what is learned."""
    classes_depend_on_image: ClassVar[bool] = False
    """Whether every image has class features of its own."""
    teacher: ClassVar[Teacher] = "none"
    """Which pixels the frozen tower sees in training, for the loss to compare with."""

    def __init__(
        self,
        towers: Towers,
        context: Context,
        classnames: Sequence[str],
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.step = 0
        self.towers = towers
        self.context = context
        # The texts first: they say whether so many vectors fit at all.
        self._read(classnames)
        self.vectors = nn.Parameter(context.initial(towers, generator).to(towers.device))

    def _read(self, classnames: Sequence[str]) -> None:
        self.classnames = tuple(classnames)
        self.texts = self.context.place(self.towers, self.classnames)

    def for_classes(self, classnames: Sequence[str]) -> Self:
        """The same learned tensors with other class names.

        Raises:
            ArgumentError: a class name does not fit into the text.
        """
        other = copy.copy(self)
        other._read(classnames)
        return other

    def class_features(self) -> Tensor:
        """Encode the classes: [C, D] unit length."""
        return unit_length(self.towers.text.features(self.texts, self.vectors))

    def image_features(self, pixels: Tensor) -> Tensor:
        """Encode [B, 3, S, S] pixels, normalised as the encoder does: [B, D] unit length."""
        return self.plain_image_features(pixels)

    def plain_image_features(self, pixels: Tensor) -> Tensor:
        """Encode pixels by the frozen tower: [B, D] unit length, without gradients."""
        with torch.no_grad():
            return unit_length(self.towers.image.features(pixels))

    def compare(self, image_features: Tensor) -> Tensor:
        """Classify images by their features [B, D]: [B, C] logits."""
        return self.towers.logits(image_features, self.class_features())

    def outcome(
        self, image_features: Tensor, labels: Tensor, teacher_features: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """What training minimises, mean over the batch, and the [B, C] logits.

        Args:
            image_features: [B, D] as `image_features` gives them.
            labels: [B] class indices.
            teacher_features: [B, D] of the frozen tower, from the pixels that `teacher` names.
        """
        logits = self.compare(image_features)
        return functional.cross_entropy(logits, labels), logits

    def logits(self, pixels: Tensor) -> Tensor:
        """Classify [B, 3, S, S] pixels, normalised as the encoder does: [B, C]."""
        return self.compare(self.image_features(pixels))

    def loss(self, pixels: Tensor, labels: Tensor, second_view: Tensor | None = None) -> Tensor:
        """What training minimises, mean over the batch.

        Args:
            pixels: [B, 3, S, S], normalised as the encoder does.
            labels: [B] class indices.
            second_view: other views of the same images, where the learner compares two.

        Raises:
            ArgumentError: the learner compares two views and got one.
        """
        shown = {"none": None, "same view": pixels, "second view": second_view}[self.teacher]
        if shown is None and self.teacher != "none":
            raise ArgumentError(
                f"{type(self).__name__}.loss compares two views; pass second_view=..."
            )
        teacher = None if shown is None else self.plain_image_features(shown)
        return self.outcome(self.image_features(pixels), labels, teacher)[0]

    @property
    def settings(self) -> dict[str, Any]:
        """The learner's arguments that rebuild a model of this shape, as JSON."""
        return {}

    def official_names(self) -> Mapping[str, str]:
        """From the names of the learned tensors to those in the authors' checkpoints, if any."""
        return {}

    def load_official(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the learned tensors of one of the authors' checkpoints.

        Args:
            state_dict: what the checkpoint holds under `state_dict`, or the whole of it.

        Raises:
            ArgumentError: tensors are missing, of another shape, or left over.
        """
        given = official_tensors(state_dict)
        names = {own: name.removeprefix(_LEARNER) for own, name in self.official_names().items()}
        learned = dict(self.named_parameters())
        wrong = [f"{name} is missing" for name in names.values() if name not in given]
        wrong += [f"{name} is left over" for name in given if name not in names.values()]
        wrong += [
            f"{name} is {list(given[name].shape)}, expected {list(learned[own].shape)}"
            for own, name in names.items()
            if name in given and given[name].shape != learned[own].shape
        ]
        if wrong:
            raise ArgumentError(
                f"The checkpoint does not fit {type(self).__name__}: {'; '.join(wrong[:4])}. Give "
                "the method, n_ctx and depth it was trained with, and the same CLIP."
            )
        with torch.no_grad():
            for own, name in names.items():
                learned[own].copy_(given[name])

    def learned(self) -> dict[str, Tensor]:
        """Copies of the learned tensors, on the CPU."""
        return {name: p.detach().cpu().clone() for name, p in self.named_parameters()}

    def learn(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over learned tensors.

        Raises:
            ArgumentError: they are other tensors than the model learns.
        """
        learned = dict(self.named_parameters())
        shapes = {name: list(tensor.shape) for name, tensor in tensors.items()}
        expected = {name: list(tensor.shape) for name, tensor in learned.items()}
        if shapes != expected:
            raise ArgumentError(
                f"These tensors do not fit this encoder: expected {expected}, got {shapes}."
            )
        with torch.no_grad():
            for name, tensor in tensors.items():
                learned[name].copy_(tensor)


def official_tensors(state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """Pick the learned tensors of an authors' checkpoint, names without their common prefix."""
    state = state_dict.get("state_dict", state_dict)
    named = {str(name).removeprefix(_LEARNER): tensor for name, tensor in state.items()}
    return {
        name: tensor
        for name, tensor in named.items()
        if isinstance(tensor, Tensor) and ("VPT" in name or not name.startswith(_IGNORED))
    }


def linear(
    inputs: int, outputs: int, generator: torch.Generator, *, bias: bool = True
) -> nn.Linear:
    """A layer with torch's own initialisation, drawn from a generator of its own."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    with torch.no_grad():
        for tensor in layer.parameters():
            tensor.uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
    return layer


def random_prompts(count: int, n: int, width: int, generator: torch.Generator) -> nn.ParameterList:
    """Prompts of `count` layers, [n, W] each, at random."""
    return nn.ParameterList(
        nn.Parameter(SPREAD * torch.randn(n, width, generator=generator)) for _ in range(count)
    )


def depth_within(
    asked: int | None, towers: Towers, *, of_texts: bool = True, of_images: bool = True
) -> int:
    """How many layers get prompts: as asked, else nine or as many as there are.

    Raises:
        EncoderError: no layer takes prompts, or fewer than asked.
        ArgumentError: fewer than one was asked.
    """
    if asked is not None and (not isinstance(asked, int) or asked < 1):
        raise ArgumentError(f"depth must be at least 1, got {asked}.")
    spec = towers.encoder.spec
    if of_images and towers.image.depth == 0:
        raise EncoderError(
            f"the image tower of {spec} takes no prompts, being neither a Vision Transformer nor a "
            "ResNet of CLIP; learn with CoOp or CoCoOp, which leave it as it is"
        )
    depths = [(of_texts, "text", towers.text.depth), (of_images, "image", towers.image.depth)]
    tower, layers = min(
        ((tower, depth) for counts, tower, depth in depths if counts), key=lambda pair: pair[1]
    )
    if asked is not None and asked > layers:
        raise EncoderError(
            f"prompts were asked for in {asked} layers, but the {tower} tower of {spec} has "
            f"{layers} that take them; give depth={layers}"
        )
    return asked or min(DEPTH, layers)


def unit_length(features: Tensor) -> Tensor:
    """Scale features [..., D] to unit length, in float32."""
    return functional.normalize(features.float(), dim=-1)
