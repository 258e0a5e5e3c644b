from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ipo_dspy import load_encoder, registry
from ipo_dspy.errors import EncoderError
from ipo_dspy.features import backends
from ipo_dspy.features.backends import Backend, EmbeddingJob, LocalBackend, Shard, joined
from ipo_dspy.testing import check_backend


def test_the_local_backend_keeps_the_promises(tmp_path: Path) -> None:
    check_backend(LocalBackend(), tmp_path)
    assert isinstance(LocalBackend(), Backend)


def test_it_has_a_name() -> None:
    assert registry.find("backends", "local") is LocalBackend


def test_a_job_travels_to_other_processes(tmp_path: Path) -> None:
    job = EmbeddingJob(load_encoder("demo", precision="bfloat16"), [tmp_path / "a.png"], 8)
    arrived = pickle.loads(pickle.dumps(job))
    assert (arrived.spec, arrived.precision, arrived.images) == ("demo", "bfloat16", job.images)


class Forgetful(LocalBackend):
    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        yield from list(super().run(job))[1:]


class Swapping(LocalBackend):
    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        for shard in super().run(job):
            yield replace(shard, features=shard.features.flip(0))


class Silent(LocalBackend):
    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        for shard in super().run(job):
            yield replace(shard, errors={})


@pytest.mark.parametrize("broken", [Forgetful, Swapping, Silent])
def test_broken_promises_are_named(broken: type[LocalBackend], tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="backend breaks a promise"):
        check_backend(broken(), tmp_path)


def shards(*sizes: int, then: Exception | None = None) -> Iterator[Shard]:
    start = 0
    for size in sizes:
        numbers = range(start, start + size)
        yield Shard(numbers, torch.tensor(numbers)[:, None].float(), {100 + start: "bad"})
        start += size
    if then:
        raise then


def test_shards_are_put_together_up_to_a_size() -> None:
    found = list(joined(shards(3, 3, 3, 9, 1), most=6, seconds=1000))
    assert [len(shard.numbers) for shard in found] == [6, 3, 9, 1]
    for shard in found:
        assert shard.features[:, 0].tolist() == list(shard.numbers)
    assert [number for shard in found for number in shard.errors] == [100, 103, 106, 109, 118]


def test_shards_wait_for_others_no_longer_than_that(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0

    def timed(count: int) -> Iterator[Shard]:
        nonlocal clock
        for shard in shards(*[1] * count):
            clock += 1
            yield shard

    monkeypatch.setattr(backends, "monotonic", lambda: clock)
    sizes = [len(shard.numbers) for shard in joined(timed(600), most=1000, seconds=3)]
    assert sizes[:10] == [3] * 10
    assert sizes == sorted(sizes[:-1]) + sizes[-1:]
    assert max(sizes) == backends.PATIENCE * 3


def test_a_shard_without_rows_is_put_together_with_others() -> None:
    bad = Shard([], torch.empty((0, 0)), {7: "bad"})
    [only] = joined([bad, *shards(2), bad], most=10, seconds=1000)
    assert only.features.shape == (2, 1)
    [only] = joined([bad, bad], most=10, seconds=1000)
    assert list(only.errors) == [7]


def test_what_came_before_an_error_is_given() -> None:
    found = joined(shards(1, 1, then=EncoderError("no memory")), most=10, seconds=1000)
    assert list(next(found).numbers) == [0, 1]
    with pytest.raises(EncoderError, match="no memory"):
        next(found)
