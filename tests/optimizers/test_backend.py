"""Who embeds for an optimizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ipo_dspy import CLIPClassifier, IPOOptimizer, NoDescriber, offline_lm
from ipo_dspy.demo.world import DEMO_MEDIUM, write_folder
from ipo_dspy.errors import UnknownNameError
from ipo_dspy.features.backends import EmbeddingJob, LocalBackend, Shard
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images import read_folder


class Counting(LocalBackend):
    def __init__(self) -> None:
        self.images = 0

    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        self.images += len(job.images)
        return super().run(job)


def optimize(folder: Path, cache: str | None, **settings: object) -> CLIPClassifier:
    from ipo_dspy import load_encoder

    names = ("apple", "boat", "cup", "fish")
    write_folder(folder, medium=DEMO_MEDIUM, class_names=names, per_class=5, seed=7, split="train")
    embedder = Embedder(load_encoder("demo"), cache)
    student = CLIPClassifier.from_images(read_folder(folder), embedder)
    optimizer = IPOOptimizer(
        prompt_model=offline_lm(),
        describer=NoDescriber(),
        steps=1,
        prompts_per_step=2,
        **settings,  # type: ignore[arg-type]
    )
    return optimizer.compile(student)  # type: ignore[return-value]


@pytest.mark.parametrize("cache", [None, "off"])
def test_the_backend_embeds_the_training_images_and_changes_no_score(
    tmp_path: Path, cache: str | None
) -> None:
    backend = Counting()
    ours = optimize(tmp_path, cache, backend=backend)
    assert backend.images == 20
    plain = optimize(tmp_path, "off")
    scores = [[t.score for t in p.detailed_results.trials] for p in (ours, plain)]
    assert scores[0] == scores[1]


def test_a_backend_is_found_by_its_name(tmp_path: Path) -> None:
    assert isinstance(IPOOptimizer(backend="local").backend, LocalBackend)
    with pytest.raises(UnknownNameError):
        IPOOptimizer(backend="spark")
