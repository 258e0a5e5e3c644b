"""Embedding on many machines, or with many processes on this one, by Ray Data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from ipo_dspy.errors import ArgumentError, EncoderError, IPOError
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

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ipo_dspy.images.image import ImageSource

RETRIES = 2
"""How often a shard is tried again whose worker died."""
PARTS_OF_A_LOST_SHARD = 8
"""Into how many parts a shard is divided that is lost in spite of that."""
SHARDS_A_WORKER = 16
"""At least so many shards are made for each worker, as far as they are worth it."""
BATCH = 64
"""Shards are multiples of this, so that a GPU gets the batches that it gets from one process."""
_BARREN_ROUNDS = 2
"""After so many rounds without a single shard, it is not the images."""


class RayBackend:
    """Spreads shards over workers, each with an encoder of its own.

    The bits are those of `LocalBackend` at the same precision: on the CPU always; on a GPU unless
    an image cannot be read, for those that come after it in its shard then share other batches.

    A worker that dies costs its shard alone, which is tried again `retries` times, then in ever
    smaller parts: an image that kills whoever reads it ends as an error of its own. Any other error
    of an encoder ends the job, as it would in this process.

    Args:
        address: of the cluster; None takes that of the environment's `RAY_ADDRESS`, or starts one
            on this machine, which ends with the process. Its machines need this package, the
            weights of the encoder, and access to the images.
        workers: how many processes embed; None takes one for each CPU, or for each GPU where the
            encoder is on one.
        retries: how often a shard is tried again whose worker died.

    Raises:
        ArgumentError: Ray is not installed, or a number is out of its range.
    """

    def __init__(
        self, address: str | None = None, *, workers: int | None = None, retries: int = RETRIES
    ) -> None:
        if workers is not None and workers < 1:
            raise ArgumentError(f"workers must be at least 1, got {workers}.")
        if retries < 0:
            raise ArgumentError(f"retries must be at least 0, got {retries}.")
        cluster.ray_module()
        self.address = address
        self.workers = workers
        self.retries = retries

    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        """Give the shards as they are done; see `Backend.run`.

        Raises:
            ArgumentError: there is no cluster at the address, or it has no GPU for an encoder that
                is on one.
            EncoderError: the encoder fails, cannot be sent to the workers, or all of them die.
        """
        on_gpu = str(getattr(job.encoder, "device", "cpu")).startswith("cuda")
        return self._spread(job.images, job.shard_size, embedding(job.encoder), on_gpu)

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
        cluster.connect(self.address)
        crew = _Crew(work, self._workers(on_gpu), self.retries, on_gpu)
        waiting = _divided(range(len(images)), _size_of_a_shard(len(images), shard_size, crew.size))
        barren = 0
        while waiting:
            done = set()
            for part in crew.run([_Part(numbers, images) for numbers in waiting]):
                if part.failure is not None:
                    raise part.failure
                done.add(part.numbers)
                yield shard_of(part.numbers, *part.outcome)
            lost = [numbers for numbers in waiting if numbers not in done]
            barren = 0 if done else barren + 1
            if barren == _BARREN_ROUNDS and len(lost) > 1:
                raise EncoderError(
                    "The workers of Ray die, whatever they embed: they may lack memory, or not be "
                    "able to load the encoder. Their logs say more; --backend local embeds in this "
                    "process."
                )
            for numbers in lost:
                if len(numbers) == 1:
                    yield _killer(numbers[0], images[numbers[0]])
            waiting = [
                part
                for numbers in lost
                if len(numbers) > 1
                for part in _divided(numbers, math.ceil(len(numbers) / PARTS_OF_A_LOST_SHARD))
            ]

    def _workers(self, on_gpu: bool) -> int:
        there = cluster.count("GPU" if on_gpu else "CPU")
        if on_gpu and not there:
            raise ArgumentError(
                "The encoder is on a GPU, but the Ray cluster has none; choose --device cpu."
            )
        return self.workers or max(1, there)


@dataclass
class _Part:
    """Images that a worker gets, and what it made of them.

    Attributes:
        numbers: of these images in the job.
        images: all of the job; on its way only those that are meant.
        rows: for each image that can be read.
        errors: why others cannot, by their index here.
        failure: what ends the job.
    """

    numbers: range
    images: Sequence[ImageSource] = ()
    rows: NDArray[np.generic] | None = None
    errors: Mapping[int, str] = field(default_factory=dict)
    failure: IPOError | None = None

    @property
    def outcome(self) -> tuple[Any, Mapping[int, str]]:
        import torch

        rows = torch.empty((0, 0)) if self.rows is None else torch.from_numpy(self.rows.copy())
        return rows, self.errors

    def __getstate__(self) -> dict[str, Any]:
        images = [self.images[number] for number in self.numbers] if self.images else ()
        return self.__dict__ | {"images": images}


class _Worker:
    """Does the work in a process of Ray.

    Args:
        work: pickled; where it cannot be loaded here, the first part is what fails.
    """

    def __init__(self, work: bytes) -> None:
        self._pickled = work
        self._work: ShardWork | None = None

    def __call__(self, row: dict[str, _Part]) -> dict[str, _Part]:
        part = row["part"]
        return {"part": self._done(part)}

    def _done(self, part: _Part) -> _Part:
        try:
            if self._work is None:
                self._work = cluster.ray_module().cloudpickle.loads(self._pickled)
            rows, errors = self._work(part.images)
        except IPOError as error:
            return _Part(part.numbers, failure=error)
        except Exception as error:  # noqa: BLE001 - Ray would try it again for ever
            failure = EncoderError(f"a worker of Ray failed ({type(error).__name__}: {error})")
            return _Part(part.numbers, failure=failure)
        return _Part(part.numbers, rows=rows.numpy(), errors=errors)


class _Crew:
    """Workers that all do the same work; they live as long as a run."""

    def __init__(self, work: ShardWork, size: int, retries: int, on_gpu: bool) -> None:
        self.size = size
        self._retries = retries
        self._gpus = 1 if on_gpu else 0
        try:
            self._work: bytes = cluster.ray_module().cloudpickle.dumps(work)
        except Exception as error:
            # Pickling runs code of whoever wrote the encoder.
            raise EncoderError(
                f"The encoder cannot be sent to the workers of Ray ({error}); give it a "
                "__reduce__ that says how to load it, or embed with the backend 'local'."
            ) from error

    def run(self, parts: Sequence[_Part]) -> Iterator[_Part]:
        """Give the parts as they are done; those whose worker died again and again are missing.

        Raises:
            EncoderError: Ray itself fails.
        """
        ray = cluster.ray_module()
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        context.max_errored_blocks = -1
        with cluster.quiet(), ray.data.DataContext.current(context):
            # In 2.60 no other parameter bounds how often an actor's task is tried again.
            warnings.filterwarnings("ignore", "`ray_remote_args_fn` is deprecated")
            rows = ray.data.from_items([{"part": p} for p in parts], override_num_blocks=len(parts))
            rows = rows.map(
                _Worker,
                fn_constructor_args=(self._work,),
                compute=ray.data.ActorPoolStrategy(
                    size=min(self.size, len(parts)),
                    # Whoever dies takes along what waits for it.
                    max_tasks_in_flight_per_actor=1,
                ),
                num_cpus=1,
                num_gpus=self._gpus,
                ray_remote_args_fn=partial(dict, max_restarts=-1, max_task_retries=self._retries),
            )
            try:
                for row in rows.iter_rows():
                    yield row["part"]
            except ray.exceptions.RayError as error:
                raise EncoderError(f"Ray failed: {error}") from error


def _size_of_a_shard(images: int, most: int, workers: int) -> int:
    """Small enough for all workers to have some, and to lose little with one of them."""
    fair = math.ceil(images / (workers * SHARDS_A_WORKER * BATCH)) * BATCH
    return min(most, fair)


def _divided(numbers: range, size: int) -> list[range]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]


def _killer(number: int, image: ImageSource) -> Shard:
    import torch

    error = f"{image} ends every process that reads it; replace it, or remove it from the data"
    return Shard([], torch.empty((0, 0)), {number: error})
