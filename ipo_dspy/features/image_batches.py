"""Many images through an image tower: opened and prepared in threads, encoded in batches."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

import PIL.Image
import torch
from torch import Tensor

from ipo_dspy.encoders.parallel import parallel_map
from ipo_dspy.errors import EncoderError, UnreadableImage
from ipo_dspy.images.image import ImageSource, content_hash, open_image
from ipo_dspy.images.remote import RemoteImage

if TYPE_CHECKING:
    from ipo_dspy.encoders.base import Encoder

_A = TypeVar("_A")
_B = TypeVar("_B")

AT_ONCE_ON_GPU = 64
"""Images in a batch where one runs at a time, while the next ones are prepared."""
AT_ONCE_OPENED = 16
"""Images in a batch of an encoder that prepares them itself: at full size they take much memory."""
READERS = 32
"""Threads that wait for disk or network."""
FETCHED_AHEAD = 64
"""Most remote images whose bytes are in memory before they are decoded."""


@runtime_checkable
class PreparesImages(Protocol):
    """What an encoder may offer beside the protocol: preparing images apart from encoding them."""

    device: torch.device

    def prepare_image(self, image: PIL.Image.Image) -> Any:
        """Prepare one RGB image for `encode_prepared`; several threads may do so at once."""

    def encode_prepared(self, prepared: Sequence[Any]) -> Tensor:
        """Encode prepared images: [N, D] float32, unit length."""


def encode_images(encoder: Encoder, images: Sequence[ImageSource]) -> Tensor:
    """Open and encode images: [N, D] float32, unit length; see `embed`.

    Raises:
        UnreadableImage: an image cannot be read.
        EncoderError: the encoder gives features that are no numbers; the message names the image.
    """
    features, errors = embed(encoder, images)
    for error in errors.values():
        raise error
    return features


def embed(
    encoder: Encoder, images: Sequence[ImageSource]
) -> tuple[Tensor, Mapping[int, UnreadableImage]]:
    """Open and encode the images that can be read.

    All that can be done side by side is done in threads, for Pillow leaves Python's lock alone
    while it decodes and scales; processes would take longer to start than most image sets take to
    decode. Only a few images are in memory at full size.

    Returns:
        [N, D] float32, unit length, of the images that can be read, in order; and why the others
        cannot be, by their index.

    Raises:
        EncoderError: the encoder gives features that are no numbers; the message names the image.
    """
    errors: dict[int, UnreadableImage] = {}

    def readable(opened: Iterable[_A | UnreadableImage]) -> Iterator[_A]:
        for index, found in enumerate(opened):
            if isinstance(found, UnreadableImage):
                errors[index] = found
            else:
                yield found

    with torch.no_grad():
        parts = list(_batches(encoder, images, readable))
    features = torch.cat(parts) if parts else torch.empty((0, 0))
    named = [image for index, image in enumerate(images) if index not in errors]
    for row in (~features.isfinite().all(dim=1)).nonzero().flatten().tolist():
        raise EncoderError(
            f"{encoder.spec} gives no finite features for the image {named[row]!r}; check its "
            "weights, or its precision"
        )
    return features, errors


def hash_contents(
    images: Sequence[ImageSource],
) -> tuple[Tensor, Mapping[int, UnreadableImage]]:
    """Read images and hash what they are, many at a time.

    Returns:
        [N, 32] uint8, of the images that can be read, in order; and why the others cannot be, by
        their index.
    """
    rows, errors = bytearray(), {}
    work = _unless_bad(content_hash)
    in_memory = all(isinstance(image, PIL.Image.Image) for image in images)
    # Threads wait for files and networks; pictures in memory only wait for each other.
    hashes = map(work, images) if in_memory else ahead(work, images, 2 * READERS, READERS)
    for index, found in enumerate(hashes):
        if isinstance(found, UnreadableImage):
            errors[index] = found
        else:
            rows += bytes.fromhex(found)
    if not rows:
        return torch.empty((0, 0), dtype=torch.uint8), errors
    return torch.frombuffer(rows, dtype=torch.uint8).view(len(images) - len(errors), -1), errors


def _batches(
    encoder: Encoder, images: Sequence[ImageSource], readable: Callable[..., Iterator[Any]]
) -> Iterator[Tensor]:
    fetched, block = _fetched(images)
    if not isinstance(encoder, PreparesImages):
        opened = ahead(_unless_bad(open_image), fetched, most=2 * AT_ONCE_OPENED)
        return _encoded(readable(opened), encoder.encode_images, AT_ONCE_OPENED)

    def prepare(image: ImageSource) -> Any:
        return encoder.prepare_image(open_image(image))

    if encoder.device.type != "cpu":
        prepared = ahead(_unless_bad(prepare), fetched, most=2 * AT_ONCE_ON_GPU)
        return _encoded(readable(prepared), encoder.encode_prepared, AT_ONCE_ON_GPU)

    def encode(image: ImageSource) -> Tensor:
        return encoder.encode_prepared([prepare(image)])

    def encoded() -> Iterator[Tensor | UnreadableImage]:
        rest = iter(fetched)
        while some := list(islice(rest, block)):
            # The last bits depend on the size of a batch and the number of threads; both are one.
            yield from parallel_map([partial(_unless_bad(encode), image) for image in some])

    return readable(encoded())


def _fetched(images: Sequence[ImageSource]) -> tuple[Iterable[ImageSource], int]:
    """Let remote images be fetched while others are decoded and encoded.

    Returns:
        The images, and how many of them are to be taken together.
    """
    if not any(isinstance(image, RemoteImage) for image in images):
        return images, len(images)
    return ahead(_fetch, images, most=FETCHED_AHEAD, threads=READERS), FETCHED_AHEAD


def _fetch(image: ImageSource) -> ImageSource:
    try:
        return image.fetched() if isinstance(image, RemoteImage) else image
    except UnreadableImage:
        return image  # Once more, where an error counts.


def _unless_bad(work: Callable[[_A], _B]) -> Callable[[_A], _B | UnreadableImage]:
    """The same, with the error as the result for images that cannot be read."""

    def done(item: _A) -> _B | UnreadableImage:
        try:
            return work(item)
        except UnreadableImage as error:
            return error

    return done


def _encoded(
    items: Iterator[_A], encode: Callable[[Sequence[_A]], Tensor], size: int
) -> Iterator[Tensor]:
    """Encode one batch at a time, while threads prepare the next ones."""
    while batch := list(islice(items, size)):
        yield encode(batch)


def ahead(
    work: Callable[[_A], _B], items: Iterable[_A], most: int, threads: int | None = None
) -> Iterator[_B]:
    """Do the work on items in order, at most `most` of them before they are asked for.

    Args:
        work: what is done.
        items: one after the other.
        most: how many are done before they are asked for.
        threads: that do it; None takes one for each usable CPU.
    """
    pool = ThreadPoolExecutor(threads or _usable_cpus())
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
