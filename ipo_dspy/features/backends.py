"""Who embeds: a job goes in, shards come out; here in this process, elsewhere by plug-ins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

    from ipo_dspy.encoders.base import Encoder
    from ipo_dspy.images.image import ImageSource


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


class LocalBackend:
    """Embeds in this process, a shard after the other."""

    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        """Give the shards in order; see `Backend.run`."""
        from ipo_dspy.features.image_batches import embed

        for start in range(0, len(job.images), job.shard_size):
            images = job.images[start : start + job.shard_size]
            features, errors = embed(job.encoder, images)
            yield Shard(
                [start + number for number in range(len(images)) if number not in errors],
                features,
                {start + number: str(error) for number, error in errors.items()},
            )
