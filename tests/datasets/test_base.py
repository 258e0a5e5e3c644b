import random
from pathlib import Path
from typing import Any

import pytest

from ipo_dspy.datasets import (
    BASE_TO_NOVEL,
    BENCHMARKS,
    IMAGENET_VARIANTS,
    Benchmark,
    Half,
    find_benchmark,
)
from ipo_dspy.errors import DataError
from ipo_dspy.images import StoredImage

# Zero-shot accuracy of CLIP ViT-B/16 as CoCoOp's table prints it: base, novel.
PRINTED = {
    "ImageNet": ("72.43", "68.14"),
    "Caltech101": ("96.84", "94.00"),
    "OxfordPets": ("91.17", "97.26"),
    "StanfordCars": ("63.37", "74.89"),
    "Flowers102": ("72.08", "77.80"),
    "Food101": ("90.10", "91.22"),
    "FGVCAircraft": ("27.19", "36.29"),
    "SUN397": ("69.36", "75.35"),
    "DTD": ("53.24", "59.90"),
    "EuroSAT": ("56.48", "64.05"),
    "UCF101": ("70.53", "77.50"),
}


def paths(data: Any, root: Path) -> list[str]:
    return [str(example.image.path.relative_to(root)) for example in data.examples]


@pytest.mark.parametrize("benchmark", BASE_TO_NOVEL, ids=lambda b: b.name)
def test_zero_shot_counts_print_as_published(benchmark: Benchmark) -> None:
    halves = (benchmark.base, benchmark.novel)
    printed = tuple(f"{100 * h.correct / h.images:.2f}" for h in halves if h)
    assert printed == PRINTED[benchmark.name]
    assert sum(half.images for half in halves if half) == benchmark.counts.test


def test_a_half_agrees_with_counts_that_print_alike() -> None:
    small, large = Half(images=1_053, correct=759), Half(images=25_000, correct=18_108)
    assert [small.agrees(759 + k) for k in (-1, 0, 1)] == [False, True, False]
    assert [large.agrees(18_108 + k) for k in (-2, -1, 0, 1)] == [False, True, True, False]


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda b: b.name)
def test_loads_from_its_own_layout(benchmark: Benchmark, tmp_path: Path, lay_out: Any) -> None:
    lay_out(benchmark, tmp_path)
    data = benchmark.load(tmp_path)
    assert data.test.classnames == ("apse indoor", "Bell", "cat", "Dog", "emu")
    assert len(data.test) == 15
    assert all(example.image.path.is_file() for example in data.test.examples)
    # As publications read them, without a turn by EXIF.
    assert all(isinstance(example.image, StoredImage) for example in data.test.examples)
    base, novel = data.test.base_and_novel()
    assert (base.classnames, novel.classnames) == (data.test.classnames[:3], ("Dog", "emu"))
    assert (len(base), len(novel)) == (9, 6)


@pytest.mark.parametrize("benchmark", BASE_TO_NOVEL, ids=lambda b: b.name)
def test_few_shots_come_from_train_and_validation(
    benchmark: Benchmark, tmp_path: Path, lay_out: Any
) -> None:
    lay_out(benchmark, tmp_path)
    data = benchmark.load(tmp_path)
    train, val = data.few_shot(2, seed=1)
    assert [example.label for example in train.examples] == [
        name for name in data.test.classnames for _ in range(2)
    ]
    assert set(paths(train, tmp_path)) <= set(paths(data.train, tmp_path))
    assert set(paths(val, tmp_path)) <= set(paths(data.val, tmp_path))
    assert len(val) == (0 if benchmark.name == "ImageNet" else 10)


def test_one_stream_draws_train_then_at_most_four_validation_images(
    tmp_path: Path, write_rows: Any
) -> None:
    sizes = {"train": (30, 40, 50), "val": (11, 12, 13), "test": (1, 1, 1)}
    benchmark = write_rows(sizes)
    generator = random.Random(7)
    expected: dict[str, list[str]] = {}
    for split, shots in (("train", 9), ("val", 4)):
        expected[split] = [
            f"oxford_flowers/jpg/{split}_{label}_{number}.jpg"
            for label, size in enumerate(sizes[split])
            for number in generator.sample(range(size), shots)
        ]
    train, val = benchmark.load(tmp_path).few_shot(9, seed=7)
    assert paths(train, tmp_path) == expected["train"]
    assert paths(val, tmp_path) == expected["val"]


def test_halves_are_taken_after_the_draw_over_all_classes(tmp_path: Path, write_rows: Any) -> None:
    data = write_rows({"train": (30, 40, 50), "val": (5,) * 3, "test": (1,) * 3}).load(tmp_path)
    train, _ = data.few_shot(3, seed=2)
    base, novel = train.base_and_novel()
    assert paths(base, tmp_path) + paths(novel, tmp_path) == paths(train, tmp_path)
    assert paths(base, tmp_path) == paths(train, tmp_path)[:6]


@pytest.mark.parametrize("benchmark", IMAGENET_VARIANTS, ids=lambda b: b.name)
def test_variants_of_imagenet_have_nothing_to_train_on(
    benchmark: Benchmark, tmp_path: Path, lay_out: Any
) -> None:
    lay_out(benchmark, tmp_path)
    with pytest.raises(DataError, match="has no training images"):
        benchmark.load(tmp_path).few_shot(1, seed=1)


def test_missing_folders_are_named_with_what_to_do(tmp_path: Path, lay_out: Any) -> None:
    benchmark = find_benchmark("Flowers102")
    with pytest.raises(DataError, match=r"no folder .*oxford_flowers; ipo-dspy check-data"):
        benchmark.load(tmp_path)
    lay_out(benchmark, tmp_path)
    (tmp_path / "oxford_flowers/jpg").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"images of Flowers102 are missing: .*jpg"):
        benchmark.load(tmp_path)
