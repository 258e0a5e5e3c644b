import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipo_dspy.datasets import Benchmark, Counts, find_benchmark
from ipo_dspy.datasets.lists import SplitFile, VariantLists
from ipo_dspy.datasets.wordnet import NumberedFolders, WordNetFolders

LayOut = Callable[[Benchmark, Path], Benchmark]
CLASSES = ("apse_indoor", "Bell", "cat", "Dog", "emu")
SIZES = {"train": 4, "val": 2, "test": 3}


def write_split(file: Path, rows: dict[str, Sequence[Any]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows))


def touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def _split_file(benchmark: Benchmark, lists: SplitFile, folder: Path) -> None:
    rows: dict[str, list[Any]] = {}
    for split, size in SIZES.items():
        below = f"cars_{'test' if split == 'test' else 'train'}/" if not benchmark.images else ""
        rows[split] = [
            [f"{below}{split}_{label}_{number}.jpg", label, name]
            for label, name in enumerate(CLASSES)
            for number in range(size)
        ]
        for path, _, _ in rows[split]:
            touch(folder / benchmark.images / path)
    write_split(folder / lists.name, rows)


def _variants(folder: Path) -> None:
    touch(folder / "images/1.jpg")
    (folder / "variants.txt").write_text("".join(f"{name}\n" for name in CLASSES))
    for split, size in SIZES.items():
        lines = []
        for number in range(size):
            for name in CLASSES:
                touch(folder / f"images/{split}{number}{name}.jpg")
                lines.append(f"{split}{number}{name} {name}\n")
        (folder / f"images_variant_{split}.txt").write_text("".join(lines))


def _class_folders(image_folder: Path, folders: Sequence[str], size: int) -> None:
    for name in folders:
        for number in range(size):
            touch(image_folder / name / f"{number}.JPEG")


def lay_out_benchmark(benchmark: Benchmark, root: Path) -> Benchmark:
    """Put five classes of empty image files on disk as a benchmark does.

    Returns the benchmark with the counts of what was put there.
    """
    folder = root / benchmark.folder
    trains = True
    match benchmark.lists:
        case SplitFile() as lists:
            _split_file(benchmark, lists, folder)
        case VariantLists():
            _variants(folder)
        case WordNetFolders() as lists:
            numbers = [f"n{number:08}" for number in range(5)]
            _class_folders(folder / lists.images / lists.test, numbers, 3)
            trains = lists.train is not None
            if lists.train is not None:
                _class_folders(folder / lists.images / lists.train, numbers, 4)
            names = (f"{n} {name}\n" for n, name in zip(numbers, CLASSES, strict=True))
            (folder / "classnames.txt").write_text("".join(names))
        case NumberedFolders() as numbered:
            trains = False
            _class_folders(folder / numbered.images, "01234", 3)
            names = (f"n{number:08} {name}\n" for number, name in enumerate(CLASSES))
            (folder / "classnames.txt").write_text("".join(names))
    val = 10 if isinstance(benchmark.lists, SplitFile | VariantLists) else 0
    return replace(benchmark, counts=Counts(classes=5, train=20 * trains, val=val, test=15))


@pytest.fixture
def lay_out() -> LayOut:
    return lay_out_benchmark


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[dict[str, Sequence[int]]], Benchmark]:
    """Write a split file of Flowers102 with so many images of each class, without the images."""

    def write(sizes: dict[str, Sequence[int]]) -> Benchmark:
        benchmark = find_benchmark("Flowers102")
        rows = {
            split: [
                [f"{split}_{label}_{number}.jpg", label, f"kind {label}"]
                for label, size in enumerate(of_split)
                for number in range(size)
            ]
            for split, of_split in sizes.items()
        }
        folder = tmp_path / benchmark.folder
        (folder / benchmark.images).mkdir(parents=True)
        write_split(folder / "split_zhou_OxfordFlowers.json", rows)
        return benchmark

    return write


@pytest.fixture
def put_split() -> Callable[[str, Path, Sequence[Any], Sequence[Any]], Benchmark]:
    """Write the split file of a benchmark, with the training list as its test list too."""

    def put(name: str, root: Path, train: Sequence[Any], val: Sequence[Any]) -> Benchmark:
        benchmark = find_benchmark(name)
        assert isinstance(benchmark.lists, SplitFile)
        folder = root / benchmark.folder
        (folder / benchmark.images).mkdir(parents=True)
        write_split(folder / benchmark.lists.name, {"train": train, "val": val, "test": train})
        return benchmark

    return put
