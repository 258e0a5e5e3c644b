"""Who embeds: a job goes in, shards come out; here in this process, elsewhere by plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import signature
from time import monotonic
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

from ipo_dspy import registry
from ipo_dspy.errors import ArgumentError, UnreadableImage

if TYPE_CHECKING:
    from torch import Tensor

    from ipo_dspy.encoders.base import Encoder
    from ipo_dspy.images.image import ImageSource

ShardWork: TypeAlias = "Callable[[Sequence[ImageSource]], tuple[Tensor, Mapping[int, str]]]"
"""From n images to a row for each that can be read, and why others cannot be, by their index."""


PATIENCE = 6
"""How many times as long shards of a long job wait to be put together."""
IMAGES_ON_CPU = 256
"""Most images of a shard that a CPU embeds in this process."""


@dataclass(frozen=True)
class EmbeddingJob:
    """Images to embed.

    Attributes:
        encoder: what embeds; the built-in ones pickle as spec, device and precision, and load their
            weights where they arrive.
        images: references; nothing of them is read yet.
        shard_size: most images of one shard, and so what a killed worker may have to do again.
    """

    encoder: Encoder
    images: Sequence[ImageSource]
    shard_size: int

    @property
    def spec(self) -> str:
        """What names the encoder."""
        return self.encoder.spec

    @property
    def precision(self) -> str:
        """Of the encoder; `float32` where it says nothing."""
        return str(getattr(self.encoder, "precision", "float32"))


@dataclass(frozen=True)
class Shard:
    """Some images of a job, embedded.

    Attributes:
        numbers: which images of the job these features are of, n of them.
        features: [n, D] float32 on the CPU, unit length.
        errors: why other images of the shard cannot be read, by their number in the job.
    """

    numbers: Sequence[int]
    features: Tensor
    errors: Mapping[int, str] = field(default_factory=dict)


@runtime_checkable
class Backend(Protocol):
    """Embeds the images of a job, in any order; `ipo_dspy.testing.check_backend` checks one."""

    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        """Give every image of the job in one shard, either embedded or as an error.

        A shard counts as done when it is given, so that what follows a failure is the rest.

        Raises:
            EncoderError: the encoder fails, or gives features that are no numbers.
        """


@runtime_checkable
class HashesContents(Protocol):
    """What a backend may offer beside the protocol: reading images where it embeds them.

    The features of an image are found again by its content. A backend on other machines spares
    this one the reading of everything.
    """

    def content_hashes(self, images: Sequence[ImageSource], shard_size: int) -> Iterator[Shard]:
        """Give the content hash of every image in the place of features: [n, 32] uint8."""


class LocalBackend:
    """Embeds in this process, a shard after the other."""

    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        """Give the shards in order; see `Backend.run`.

        On a CPU they are small, for that many images may take a minute.
        """
        on_gpu = str(getattr(job.encoder, "device", "cpu")) != "cpu"
        most = job.shard_size if on_gpu else min(job.shard_size, IMAGES_ON_CPU)
        return _in_order(job.images, most, embedding(job.encoder))

    def content_hashes(self, images: Sequence[ImageSource], shard_size: int) -> Iterator[Shard]:
        """Give the shards in order; see `HashesContents`."""
        return _in_order(images, shard_size, hashing)


def make_backend(backend: Backend | str, address: str | None = None) -> Backend:
    """Find a backend by its name; one that is given stays as it is.

    Args:
        backend: `local`, `ray`, what an installed plug-in registers, or a backend.
        address: of the cluster; only for backends that have one.

    Raises:
        ArgumentError: there is none of that name, or it takes no address, or an extra is missing.
    """
    if not isinstance(backend, str):
        return backend
    make = registry.find("backends", backend)
    if address is None:
        made: Backend = make()
        return made
    if "address" not in signature(make).parameters:
        raise ArgumentError(
            f"The backend {backend!r} takes no address, got {address!r}; leave the address out, "
            "or choose another backend, such as 'ray'."
        )
    made = make(address=address)
    return made


def gather(backend: Backend, encoder: Encoder, images: Sequence[ImageSource]) -> Tensor:
    """Embed images that are not kept anywhere: [N, D].

    Raises:
        UnreadableImage: an image cannot be read.
        EncoderError: the encoder fails.
    """
    import torch

    shards = list(backend.run(EmbeddingJob(encoder, images, len(images))))
    errors = {number: text for shard in shards for number, text in shard.errors.items()}
    if errors:
        raise UnreadableImage(errors[min(errors)])
    numbers = torch.tensor([number for shard in shards for number in shard.numbers])
    rows: Tensor = torch.cat([shard.features for shard in shards])[numbers.argsort()]
    return rows


def embedding(encoder: Encoder) -> ShardWork:
    """The work of an `EmbeddingJob`, the same wherever it is done."""
    return partial(_embed, encoder)


def hashing(images: Sequence[ImageSource]) -> tuple[Tensor, Mapping[int, str]]:
    """The work of `HashesContents`."""
    from ipo_dspy.features.image_batches import hash_contents

    return _told(*hash_contents(images))


def shard_of(numbers: Sequence[int], features: Tensor, errors: Mapping[int, str]) -> Shard:
    """Put together what a `ShardWork` gave for these images of a job."""
    return Shard(
        [number for index, number in enumerate(numbers) if index not in errors],
        features,
        {numbers[index]: error for index, error in errors.items()},
    )


def joined(shards: Iterable[Shard], most: int, seconds: float) -> Iterator[Shard]:
    """Put shards together, for files of them to be few; what came before an error is given too.

    Args:
        shards: of one job.
        most: images that are put together.
        seconds: how long shards wait for others that come; later for a tenth of the time that the
            job takes already, but no longer than `PATIENCE` times that.
    """
    waiting: list[Shard] = []
    began = since = monotonic()
    try:
        for shard in shards:
            if waiting and sum(len(one.numbers) for one in (*waiting, shard)) > most:
                yield _joined(waiting)
                waiting, since = [], monotonic()
            waiting.append(shard)
            now = monotonic()
            if now - since >= min(max(seconds, (now - began) / 10), PATIENCE * seconds):
                yield _joined(waiting)
                waiting, since = [], monotonic()
    except (Exception, KeyboardInterrupt):
        if waiting:
            yield _joined(waiting)
        raise
    if waiting:
        yield _joined(waiting)


def _joined(shards: Sequence[Shard]) -> Shard:
    import torch

    rows = [shard.features for shard in shards if shard.numbers]
    return Shard(
        [number for shard in shards for number in shard.numbers],
        torch.cat(rows) if rows else shards[0].features,
        {number: error for shard in shards for number, error in shard.errors.items()},
    )


def _embed(encoder: Encoder, images: Sequence[ImageSource]) -> tuple[Tensor, Mapping[int, str]]:
    from ipo_dspy.features.image_batches import embed

    return _told(*embed(encoder, images))


def _told(rows: Tensor, errors: Mapping[int, Exception]) -> tuple[Tensor, Mapping[int, str]]:
    return rows, {index: str(error) for index, error in errors.items()}


def _in_order(images: Sequence[ImageSource], shard_size: int, work: ShardWork) -> Iterator[Shard]:
    for start in range(0, len(images), shard_size):
        numbers = range(start, min(start + shard_size, len(images)))
        yield shard_of(numbers, *work(images[start : start + shard_size]))
