"""Many images through an image tower: opened and prepared in threads, encoded in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from ipo_dspy.data.images import ImageSource, open_image
from ipo_dspy.encoders.base import EncoderError

if TYPE_CHECKING:
    import PIL.Image

    from ipo_dspy.encoders.base import Encoder

_A = TypeVar("_A")
_B = TypeVar("_B")

PREPARED_AT_ONCE = 64
OPENED_AT_ONCE = 16
"""Images in a batch where the encoder prepares them itself: at full size they take much memory."""


@runtime_checkable
class PreparesImages(Protocol):
    """What an encoder may offer beside the protocol: preparing images apart from encoding them."""

    def prepare_image(self, image: PIL.Image.Image) -> Any:
        """Prepare one RGB image for `encode_prepared`; several threads may do so at once."""

    def encode_prepared(self, prepared: Sequence[Any]) -> Tensor:
        """Encode prepared images: [N, D] float32, unit length."""


def encode_images(encoder: Encoder, images: Sequence[ImageSource]) -> Tensor:
    """Open and encode images: [N, D] float32, unit length.

    Files are decoded and scaled in threads, for Pillow leaves Python's lock alone while it does so;
    processes would take longer to start than most image sets take to decode. So no more than a
    few images are in memory at full size.

    Raises:
        UnreadableImage: an image cannot be read.
        EncoderError: the encoder gives features that are no numbers; the message names the image.
    """
    with torch.inference_mode():
        features = torch.cat(list(_batches(encoder, images)))
    for index in (~features.isfinite().all(dim=1)).nonzero().flatten().tolist():
        raise EncoderError(
            f"{encoder.spec} gives no finite features for the image {images[index]!r}; check its "
            "weights, or its precision"
        )
    return features


def _batches(encoder: Encoder, images: Sequence[ImageSource]) -> Iterator[Tensor]:
    prepare: Callable[[PIL.Image.Image], Any] = _as_it_is
    encode: Callable[[Sequence[Any]], Tensor] = encoder.encode_images
    size = OPENED_AT_ONCE
    if isinstance(encoder, PreparesImages):
        prepare, encode, size = encoder.prepare_image, encoder.encode_prepared, PREPARED_AT_ONCE
    with ThreadPoolExecutor() as pool:
        ready = _ahead(pool, lambda image: prepare(open_image(image)), images, most=2 * size)
        while batch := list(islice(ready, size)):
            yield encode(batch)


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[_A], _B], items: Iterable[_A], most: int
) -> Iterator[_B]:
    """Do the work on items in order, at most `most` of them before they are asked for."""
    waiting: deque[Future[_B]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) == most:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _as_it_is(image: PIL.Image.Image) -> PIL.Image.Image:
    return image
