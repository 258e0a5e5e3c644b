"""What a dual encoder is: images and texts into one space, and the logits between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import PIL.Image
    from torch import Tensor


@runtime_checkable
class Encoder(Protocol):
    """A dual encoder; an object with just these members works everywhere.

    All methods may be called from several threads at once.
    """

    @property
    def spec(self) -> str:
        """Stable text that rebuilds the encoder through `load_encoder`; part of every cache key."""

    @property
    def context_length(self) -> int:
        """Most tokens a text may have, start and end tokens included."""

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> Tensor:
        """Encode RGB images to unit-length features: [N, D] float32."""

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode texts to unit-length features: [T, D] float32."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, start and end included, never truncated."""

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Compare [N, D] image features with [C, D] text features: [N, C] logits.

        Scale and bias are the encoder's own.
        """
