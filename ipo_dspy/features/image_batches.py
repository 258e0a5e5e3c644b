"""Many images through an image tower: opened and prepared in threads, encoded in batches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from ipo_dspy.encoders.parallel import parallel_map
from ipo_dspy.errors import EncoderError
from ipo_dspy.images.image import ImageSource, open_image

if TYPE_CHECKING:
    import PIL.Image

    from ipo_dspy.encoders.base import Encoder

_A = TypeVar("_A")
_B = TypeVar("_B")

AT_ONCE_ON_GPU = 64
"""Images in a batch where one runs at a time, while the next ones are prepared."""
AT_ONCE_OPENED = 16
"""Images in a batch of an encoder that prepares them itself: at full size they take much memory."""


@runtime_checkable
class PreparesImages(Protocol):
    """What an encoder may offer beside the protocol: preparing images apart from encoding them."""

    device: torch.device

    def prepare_image(self, image: PIL.Image.Image) -> Any:
        """Prepare one RGB image for `encode_prepared`; several threads may do so at once."""

    def encode_prepared(self, prepared: Sequence[Any]) -> Tensor:
        """Encode prepared images: [N, D] float32, unit length."""


def encode_images(encoder: Encoder, images: Sequence[ImageSource]) -> Tensor:
    """Open and encode images: [N, D] float32, unit length.

    All that can be done side by side is done in threads, for Pillow leaves Python's lock alone
    while it decodes and scales; processes would take longer to start than most image sets take to
    decode. Only a few images are in memory at full size.

    Raises:
        UnreadableImage: an image cannot be read.
        EncoderError: the encoder gives features that are no numbers; the message names the image.
    """
    with torch.no_grad():
        features = torch.cat(list(_batches(encoder, images)))
    for index in (~features.isfinite().all(dim=1)).nonzero().flatten().tolist():
        raise EncoderError(
            f"{encoder.spec} gives no finite features for the image {images[index]!r}; check its "
            "weights, or its precision"
        )
    return features


def _batches(encoder: Encoder, images: Sequence[ImageSource]) -> Iterable[Tensor]:
    if not isinstance(encoder, PreparesImages):
        return _one_by_one(images, open_image, encoder.encode_images, AT_ONCE_OPENED)

    def prepare(image: ImageSource) -> Any:
        return encoder.prepare_image(open_image(image))

    if encoder.device.type != "cpu":
        return _one_by_one(images, prepare, encoder.encode_prepared, AT_ONCE_ON_GPU)

    def encode(image: ImageSource) -> Tensor:
        return encoder.encode_prepared([prepare(image)])

    # The last bits depend on the size of a batch and on the number of threads, so both are one.
    return parallel_map([partial(encode, image) for image in images])


def _one_by_one(
    images: Sequence[ImageSource],
    prepare: Callable[[ImageSource], _A],
    encode: Callable[[Sequence[_A]], Tensor],
    size: int,
) -> Iterator[Tensor]:
    """Encode one batch at a time, while threads prepare the next ones."""
    ready = ahead(prepare, images, most=2 * size)
    while batch := list(islice(ready, size)):
        yield encode(batch)


def ahead(work: Callable[[_A], _B], items: Iterable[_A], most: int) -> Iterator[_B]:
    """Do the work on items in order, at most `most` of them before they are asked for."""
    pool = ThreadPoolExecutor(_usable_cpus())
    waiting: deque[Future[_B]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _usable_cpus() -> int:
    """How many CPUs this process may use; a container often has fewer than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
