from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ipo_dspy import load_encoder, registry
from ipo_dspy.features.backends import Backend, EmbeddingJob, LocalBackend, Shard
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
