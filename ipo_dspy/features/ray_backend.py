"""Embedding on many machines, or with many processes on this one, by Ray."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ipo_dspy.errors import ArgumentError, EncoderError, IPOError
from ipo_dspy.errors.arguments import Count, Natural, checked
from ipo_dspy.features import cluster
from ipo_dspy.features.backends import (
    EmbeddingJob,
    LocalBackend,
    Shard,
    ShardWork,
    embedding,
    hashing,
    shard_of,
)
from ipo_dspy.features.parts import BATCH, Part, Parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ipo_dspy.images.image import ImageSource

logger = logging.getLogger(__name__)

RETRIES = 2
"""How often images are tried again whose worker died."""
SHARDS_A_WORKER = 16
"""At least so many shards are made for each worker, as far as they are worth it."""
LIVES = 5
"""So often a worker may die for each time that images are tried, without anything done by any."""
PATIENCE_SECONDS = 600.0
"""And so long: where machines are taken away every few seconds, few workers live to do anything."""
_LONGEST_REASON = 300


class RayBackend:
    """Spreads shards over workers, each with an encoder of its own.

    The bits are those of `LocalBackend` at the same precision: on the CPU always; on a GPU unless
    an image cannot be read or ends its worker, for others of its shard then share other batches.

    A worker that dies is replaced, however often, unless none gets anything done for ten minutes.
    It costs its shard alone, which is tried again `retries` times, then in ever smaller parts: an
    image that ends whoever reads it ends as an error of its own. A worker that is killed while it
    still loads its encoder costs nothing. Any other error of an encoder ends the job, as it would
    in this process.

    Args:
        address: of the cluster; None takes that of the environment's `RAY_ADDRESS`, or starts one
            on this machine, which ends with the process. Its machines need this package, the
            weights of the encoder, and access to the images.
        workers: how many processes embed; None takes one for each CPU, or for each GPU where the
            encoder is on one.
        retries: how often images are tried again whose worker died.

    Raises:
        ArgumentError: Ray is not installed, or a number is out of its range.
    """

    @checked
    def __init__(
        self,
        address: str | None = None,
        *,
        workers: Count | None = None,
        retries: Natural = RETRIES,
    ) -> None:
        cluster.ray_module()
        self.address = address
        self.workers = workers
        self.retries = retries

    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        """Give the shards as they are done; see `Backend.run`.

        On CPUs they are of 64 images at most, so that even a worker that does not live long gets
        some done.

        Raises:
            ArgumentError: there is no cluster at the address, or it has no GPU for an encoder that
                is on one.
            EncoderError: the encoder fails, cannot be sent to the workers, or all of them die.
        """
        on_gpu = str(getattr(job.encoder, "device", "cpu")).startswith("cuda")
        most = job.shard_size if on_gpu else min(job.shard_size, BATCH)
        return self._spread(job.images, most, embedding(job.encoder), on_gpu)

    def content_hashes(self, images: Sequence[ImageSource], shard_size: int) -> Iterator[Shard]:
        """Give the shards as they are done; see `HashesContents`.

        On this machine alone reading takes no workers: it waits for the disk, not for a CPU.
        """
        cluster.connect(self.address)
        if cluster.is_local():
            return LocalBackend().content_hashes(images, shard_size)
        return self._spread(images, shard_size, hashing, on_gpu=False)

    def _spread(
        self, images: Sequence[ImageSource], shard_size: int, work: ShardWork, on_gpu: bool
    ) -> Iterator[Shard]:
        if not images:
            return
        ray = cluster.connect(self.address)
        workers = self._workers(on_gpu)
        size = _size_of_a_shard(len(images), shard_size, workers)
        parts = Parts(len(images), size, self.retries, BATCH if on_gpu else 1)
        crew = _Crew(ray, work, min(workers, math.ceil(len(images) / size)), on_gpu)
        most_deaths = LIVES * (self.retries + 1) * crew.size
        deaths, since = 0, monotonic()
        with crew:
            while parts.left:
                for part in parts.take(crew.idle):
                    crew.give(part, [images[number] for number in part.numbers])
                tried, outcome = crew.wait()
                if isinstance(outcome, _Death):
                    deaths += 1
                    doing = "started" if tried is None else "embedded"
                    logger.warning("A worker of Ray died while it %s; it is replaced.", doing)
                    if deaths >= most_deaths and monotonic() - since >= PATIENCE_SECONDS:
                        raise EncoderError(
                            f"{deaths} workers of Ray died one after the other, whatever they "
                            f"embedded: {outcome.reason} They may lack memory, or not be able to "
                            "load the encoder. Their logs say more; --backend local embeds in "
                            "this process."
                        )
                    if tried is not None and parts.lost(tried):
                        yield _killer(tried.numbers[0], images[tried.numbers[0]])
                elif tried is not None:
                    deaths, since = 0, monotonic()
                    parts.done(tried)
                    yield shard_of(tried.numbers, *outcome.told)

    def _workers(self, on_gpu: bool) -> int:
        there = cluster.count("GPU" if on_gpu else "CPU")
        if on_gpu and not there:
            raise ArgumentError(
                "The encoder is on a GPU, but the Ray cluster has none; choose --device cpu."
            )
        return self.workers or max(1, there)


@dataclass(frozen=True)
class _Outcome:
    """What a worker made of images.

    Attributes:
        rows: for each image that can be read.
        errors: why others cannot, by their index.
        failure: what ends the job.
    """

    rows: NDArray[np.generic] | None = None
    errors: Mapping[int, str] = field(default_factory=dict)
    failure: IPOError | None = None

    @property
    def told(self) -> tuple[Any, Mapping[int, str]]:
        import torch

        rows = torch.empty((0, 0)) if self.rows is None else torch.from_numpy(self.rows.copy())
        return rows, self.errors


@dataclass(frozen=True)
class _Death:
    """A worker is no more; `reason` is what Ray says of it."""

    reason: str


class _Worker:
    """Does the work in a process of Ray.

    Args:
        work: pickled; where it cannot be loaded here, that is the first outcome.
    """

    def __init__(self, work: bytes) -> None:
        self._work: ShardWork | None = None
        self._failure: IPOError | None = None
        try:
            self._work = cluster.ray_module().cloudpickle.loads(work)
        except IPOError as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - pickling runs anybody's code
            self._failure = _failed(error)

    def ready(self) -> _Outcome:
        """Say whether the work could be loaded."""
        return _Outcome(failure=self._failure)

    def do(self, images: Sequence[ImageSource]) -> _Outcome:
        """Do the work."""
        if self._work is None:
            return self.ready()
        try:
            rows, errors = self._work(images)
        except IPOError as error:
            return _Outcome(failure=error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends the job
            return _Outcome(failure=_failed(error))
        return _Outcome(rows.numpy(), errors)


def _failed(error: Exception) -> EncoderError:
    return EncoderError(f"a worker of Ray failed ({type(error).__name__}: {error})")


class _Crew:
    """Workers that all do the same work, in a block with `with`; who dies is replaced.

    Args:
        ray: the module, connected.
        work: what they do.
        size: how many they are.
        on_gpu: whether each needs a GPU.

    Raises:
        EncoderError: the work cannot be pickled.
    """

    def __init__(self, ray: ModuleType, work: ShardWork, size: int, on_gpu: bool) -> None:
        self.size = size
        self._ray = ray
        # A worker that died may have failed by the machine; Ray would try for ever.
        self._hire = ray.remote(num_cpus=1, num_gpus=int(on_gpu), max_restarts=0)(_Worker).remote
        try:
            pickled: bytes = ray.cloudpickle.dumps(work)
        except Exception as error:
            # Pickling runs code of whoever wrote the encoder.
            raise EncoderError(
                f"The encoder cannot be sent to the workers of Ray ({error}); give it a "
                "__reduce__ that says how to load it, or embed with the backend 'local'."
            ) from error
        self._work = ray.put(pickled)
        self._idle: list[Any] = []
        self._asked: dict[Any, tuple[Any, Part | None]] = {}

    def __enter__(self) -> None:
        for _ in range(self.size):
            self._replace()

    def __exit__(self, *_: object) -> None:
        for worker in [*self._idle, *(worker for worker, _ in self._asked.values())]:
            self._ray.kill(worker)

    @property
    def idle(self) -> int:
        """How many workers have nothing to do."""
        return len(self._idle)

    def give(self, part: Part, images: Sequence[ImageSource]) -> None:
        """Give one who is idle something to do."""
        worker = self._idle.pop()
        self._asked[worker.do.remote(images)] = (worker, part)

    def wait(self) -> tuple[Part | None, _Outcome | _Death]:
        """Wait for one who is not idle: what became of its part; of none where it was starting.

        Raises:
            IPOError: what ends the job.
        """
        errors = self._ray.exceptions
        try:
            [answer], _ = self._ray.wait(list(self._asked), num_returns=1)
            worker, part = self._asked.pop(answer)
            outcome: _Outcome = self._ray.get(answer)
        except (errors.RayActorError, errors.ObjectLostError, errors.OutOfMemoryError) as error:
            self._ray.kill(worker)
            self._replace()
            return part, _Death(" ".join(str(error).split())[:_LONGEST_REASON])
        except errors.RayError as error:
            raise EncoderError(f"Ray failed: {error}") from error
        self._idle.append(worker)
        if outcome.failure is not None:
            raise outcome.failure
        return part, outcome

    def _replace(self) -> None:
        worker = self._hire(self._work)
        self._asked[worker.ready.remote()] = (worker, None)


def _size_of_a_shard(images: int, most: int, workers: int) -> int:
    """Small enough for all workers to have some, and to lose little with one of them."""
    fair = math.ceil(images / (workers * SHARDS_A_WORKER * BATCH)) * BATCH
    return min(most, fair)


def _killer(number: int, image: ImageSource) -> Shard:
    import torch

    error = f"{image} ends every process that reads it; replace it, or remove it from the data"
    return Shard([], torch.empty((0, 0)), {number: error})
