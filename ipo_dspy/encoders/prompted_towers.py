"""The towers of an open_clip model with learned vectors among their tokens; gradients flow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ipo_dspy.encoders.base import Encoder
from ipo_dspy.encoders.open_clip import OpenCLIPEncoder
from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.upstream.open_clip_parts import (
    CLIP,
    CustomTextCLIP,
    ModifiedResNet,
    TextTransformer,
    VisionTransformer,
)


@dataclass(frozen=True)
class PlacedTexts:
    """Texts, and where in them learned vectors stand.

    Attributes:
        tokens: [T, L] token ids, cut behind the end of the longest text.
        ends: [T], where each text ends.
        slots: [T, L], which learned vector stands there; -1 where a token keeps its own.
    """

    tokens: Tensor
    ends: Tensor
    slots: Tensor

    def repeated(self, times: int) -> PlacedTexts:
        """All texts `times` times over, one round after the other."""
        return PlacedTexts(
            self.tokens.repeat(times, 1), self.ends.repeat(times), self.slots.repeat(times, 1)
        )


def placed_texts(
    tokens: Sequence[Sequence[int]], slots: Sequence[Sequence[int]], device: torch.device
) -> PlacedTexts:
    """Join texts of different lengths, each with its token ids and slots."""
    return PlacedTexts(
        pad_sequence([torch.tensor(row) for row in tokens], batch_first=True).to(device),
        torch.tensor([len(row) - 1 for row in tokens], device=device),
        pad_sequence([torch.tensor(row) for row in slots], batch_first=True, padding_value=-1).to(
            device
        ),
    )


class TextTower:
    """A causal text tower in which learned vectors take the place of tokens.

    Args:
        model: what holds the tower's parts, open_clip's `CLIP` or `TextTransformer`.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self.width = int(model.positional_embedding.shape[1])
        self.depth = len(model.transformer.resblocks)

    @property
    def embedding(self) -> Tensor:
        """The vectors of all tokens: [vocabulary, W]."""
        weight: Tensor = self._model.token_embedding.weight
        return weight.detach()

    def features(self, texts: PlacedTexts, context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Encode texts: [T, D], any length.

        Args:
            texts: T texts.
            context: the learned vectors, [n, W] or for every text its own, [T, n, W].
            deep: [n, W] each; before block i the outputs in the slots are replaced by `deep[i-1]`.
        """
        model, length = self._model, texts.tokens.shape[1]
        with fixed_weights(model):
            x = _placed(model.token_embedding(texts.tokens), context, texts.slots)
            x = x + model.positional_embedding[:length]
            mask = model.attn_mask[:length, :length]
            for number, block in enumerate(model.transformer.resblocks):
                if 1 <= number <= len(deep):
                    x = _placed(x, deep[number - 1], texts.slots)
                x = block(x, attn_mask=mask)
            x = model.ln_final(x[torch.arange(len(x), device=x.device), texts.ends])
            return _projected(x, model.text_projection)


class ImageTower(ABC):
    """An image tower.

    Attributes:
        depth: how many of its layers take prompts; 0 where it takes none.
        width: of its tokens.
    """

    depth: int
    width: int

    @abstractmethod
    def features(
        self, pixels: Tensor, context: Tensor | None = None, deep: Sequence[Tensor] = ()
    ) -> Tensor:
        """Encode [B, 3, S, S] normalised pixels: [B, D], any length.

        Args:
            pixels: as the encoder's own preparation makes them.
            context: [n, W], appended to the tokens, without positions; None runs the plain tower.
            deep: [n, W] each; before block i what stands there is replaced by `deep[i-1]`.
        """


class PlainImageTower(ImageTower):
    """Any image tower of open_clip, as it is."""

    depth = 0
    width = 0

    def __init__(self, visual: nn.Module) -> None:
        self._visual = visual

    def features(
        self, pixels: Tensor, context: Tensor | None = None, deep: Sequence[Tensor] = ()
    ) -> Tensor:
        """Encode pixels: [B, D]; prompts it cannot take."""
        with fixed_weights(self._visual):
            features: Tensor = self._visual(pixels)
            return features


class TransformerImageTower(PlainImageTower):
    """A Vision Transformer: every block takes prompts."""

    def __init__(self, visual: Any) -> None:
        super().__init__(visual)
        self.depth = len(visual.transformer.resblocks)
        self.width = int(visual.transformer.width)

    def features(
        self, pixels: Tensor, context: Tensor | None = None, deep: Sequence[Tensor] = ()
    ) -> Tensor:
        """Encode pixels: [B, D]."""
        if context is None:
            return super().features(pixels)
        visual: Any = self._visual
        with fixed_weights(visual):
            x = visual._embeds(pixels)
            length = x.shape[1]
            # The normalisation works on each token by itself.
            x = _with_prompt(x, visual.ln_pre(context), length)
            for number, block in enumerate(visual.transformer.resblocks):
                if 1 <= number <= len(deep):
                    x = _with_prompt(x, deep[number - 1], length)
                x = block(x)
            pooled, _ = visual._pool(x[:, :length])
            return _projected(pooled, visual.proj)


class ResNetImageTower(PlainImageTower):
    """A ResNet of CLIP: its one layer of attention, which pools at the end, takes prompts."""

    depth = 1

    def __init__(self, visual: Any) -> None:
        super().__init__(visual)
        self.width = int(visual.attnpool.positional_embedding.shape[1])

    def features(
        self, pixels: Tensor, context: Tensor | None = None, deep: Sequence[Tensor] = ()
    ) -> Tensor:
        """Encode pixels: [B, D]."""
        if context is None:
            return super().features(pixels)
        visual: Any = self._visual
        with fixed_weights(visual):
            x = visual.stem(pixels)
            for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
                x = layer(x)
            x = x.flatten(2).transpose(1, 2)
            x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)
            x = x + visual.attnpool.positional_embedding
            return _pooled(visual.attnpool, _with_prompt(x, context, x.shape[1]))


@dataclass(frozen=True)
class Towers:
    """What prompt learners need of an encoder; copies are the same object.

    Attributes:
        encoder: the encoder itself.
        text: its text tower.
        image: its image tower.
        dim: of the features.
    """

    encoder: OpenCLIPEncoder
    text: TextTower
    image: ImageTower
    dim: int

    def __deepcopy__(self, memo: object) -> Towers:
        return self

    @property
    def device(self) -> torch.device:
        """Where the encoder runs."""
        return self.encoder.device

    @property
    def image_size(self) -> int:
        """Height and width of the pixels."""
        size: Any = self.encoder.model.visual.image_size  # type: ignore[union-attr]
        return int(size if isinstance(size, int) else size[0])

    @property
    def normalisation(self) -> tuple[Sequence[float], Sequence[float]]:
        """Mean and standard deviation of the three channels, 0 to 1."""
        settings: Any = self.encoder.model.visual.preprocess_cfg  # type: ignore[union-attr]
        return settings["mean"], settings["std"]

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Give the token ids of each text, start and end included.

        Raises:
            ArgumentError: a text is longer than the tower takes.
        """
        counts = self.encoder.count_tokens(texts)
        for text, count in zip(texts, counts, strict=True):
            if count > self.encoder.context_length:
                raise ArgumentError(
                    f"{self.encoder.spec} takes at most {self.encoder.context_length} tokens, but "
                    f"{text!r} has {count}; shorten the class name or learn fewer vectors"
                )
        rows = self.encoder._tokenize(texts).tolist()
        return [row[:count] for row, count in zip(rows, counts, strict=True)]

    def word(self, token: int) -> str:
        """Write a token as text."""
        tokenizer = self.encoder.tokenizer
        # The tokenizers of Hugging Face are wrapped.
        text: str = getattr(tokenizer, "tokenizer", tokenizer).decode([token])
        return text.strip()

    def plain_text_features(self, texts: Sequence[str]) -> Tensor:
        """Encode texts as the encoder itself does: [T, D], any length, without gradients.

        Raises:
            ArgumentError: a text is longer than the tower takes.
        """
        rows = self.tokenize(texts)
        placed = placed_texts(rows, [[-1] * len(row) for row in rows], self.device)
        with torch.no_grad():
            return self.text.features(placed, self.text.embedding[:1])

    def logits(self, image_features: Tensor, class_features: Tensor) -> Tensor:
        """Compare unit-length features, [B, D] with [C, D] or [B, C, D]: [B, C] logits."""
        scale, bias = self.encoder._scale_and_bias()
        # Half a precision would be a tenth of a logit, or more.
        with torch.autocast(self.device.type, enabled=False):
            if class_features.ndim == 2:
                cosines = image_features @ class_features.T
            else:
                cosines = (class_features @ image_features[..., None]).squeeze(-1)
        logits = scale.detach() * cosines
        return logits if bias is None else logits + bias.detach()


def towers_of(encoder: Encoder) -> Towers:
    """Read the towers of an encoder.

    Raises:
        EncoderError: it is none of open_clip, or its text tower is not causal.
    """
    if not isinstance(encoder, OpenCLIPEncoder):
        raise EncoderError(
            f"{encoder.spec} is no encoder of open_clip, and vectors can be learned only in those; "
            "write open_clip:MODEL/PRETRAINED"
        )
    model: Any = encoder.model
    text = _text_part(model)
    if text is None:
        raise EncoderError(
            f"vectors cannot be learned in the text tower of {encoder.spec}: it is not CLIP's "
            "causal transformer; use a model such as ViT-B-16-quickgelu or RN50-quickgelu"
        )
    towers = Towers(encoder, TextTower(text), _image_tower(model.visual), _dim(text))
    return towers


def _text_part(model: Any) -> Any:
    """What holds a causal text tower that reads a text at its end; None where there is none."""
    if type(model) is CLIP:
        part, pooling = model, model.text_pool_type
    elif type(model) is CustomTextCLIP and type(model.text) is TextTransformer:
        part, pooling = model.text, model.text.pool_type
        if part.cls_emb is not None:
            return None
    else:
        return None
    causal = part.attn_mask is not None and pooling in ("argmax", "eos")
    return part if causal and part.transformer.batch_first else None


def _image_tower(visual: Any) -> ImageTower:
    if type(visual) is ModifiedResNet:
        return ResNetImageTower(visual)
    if (
        type(visual) is VisionTransformer
        and visual.attn_pool is None
        and visual.pool_type in ("tok", "avg")
        and not visual.output_tokens
        and visual.transformer.batch_first
    ):
        return TransformerImageTower(visual)
    return PlainImageTower(visual)


def _dim(text: Any) -> int:
    projection = text.text_projection
    if projection is None:
        return int(text.positional_embedding.shape[1])
    return int(
        projection.out_features if isinstance(projection, nn.Linear) else projection.shape[1]
    )


@contextmanager
def fixed_weights(model: nn.Module) -> Iterator[None]:
    """Keep gradients out of a model's weights, and leave the model as it was."""
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trained:
        weight.requires_grad_(False)
    try:
        yield
    finally:
        for weight in trained:
            weight.requires_grad_(True)


def _placed(x: Tensor, vectors: Tensor, slots: Tensor) -> Tensor:
    """Put vectors, [n, W] or [T, n, W], into their slots among the tokens [T, L, W]."""
    index = slots.clamp(min=0)
    if vectors.ndim == 2:
        chosen = functional.embedding(index, vectors)
    else:
        chosen = vectors.gather(1, index[..., None].expand(-1, -1, vectors.shape[-1]))
    return torch.where(slots[..., None] >= 0, chosen.to(x.dtype), x)


def _with_prompt(x: Tensor, prompt: Tensor, length: int) -> Tensor:
    """Append a prompt [n, W] to the first `length` tokens of [B, L, W]."""
    return torch.cat([x[:, :length], prompt.to(x.dtype).expand(len(x), -1, -1)], dim=1)


def _projected(x: Tensor, projection: nn.Linear | Tensor | None) -> Tensor:
    if projection is None:
        return x
    return projection(x) if isinstance(projection, nn.Linear) else x @ projection


def _pooled(pool: Any, x: Tensor) -> Tensor:
    """CLIP's attention pooling over tokens [B, L, W], the first of which asks: [B, D]."""
    heads = pool.num_heads
    queries, keys, values = (
        layer(part).unflatten(-1, (heads, -1)).transpose(1, 2)
        for layer, part in ((pool.q_proj, x[:, :1]), (pool.k_proj, x), (pool.v_proj, x))
    )
    attended = functional.scaled_dot_product_attention(queries, keys, values)
    pooled: Tensor = pool.c_proj(attended.transpose(1, 2).flatten(1))
    return pooled
