"""What benchmarks run on: few images of base classes, and unseen ones of base and novel classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ipo_dspy.datasets import load_benchmark
from ipo_dspy.demo.world import BASE_CLASSES, CLASSES, DEMO_MEDIUM, write_folder
from ipo_dspy.images import LabeledImages, read_folder
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE

DEMO_TEST_PICTURES = 10
"""Unseen pictures of each class in the demo task."""


@dataclass(frozen=True)
class Task:
    """One seed of a data set: few labelled images of the base classes, and two test sets.

    Attributes:
        name: of the data set.
        seed: of the few shots.
        train: what optimizers see, told apart among the base classes.
        base: unseen images of the base classes.
        novel: unseen images of the other classes, told apart among themselves.
        template: where the search begins.
    """

    name: str
    seed: int
    train: LabeledImages
    base: LabeledImages
    novel: LabeledImages
    template: str = DEFAULT_TEMPLATE.text


MakeTask = Callable[[int], Task]
"""From a seed to a task."""


def demo_tasks(folder: Path, shots: int = 1) -> MakeTask:
    """Tasks of the demo world: drawings of everyday objects, written to `folder` and read again."""

    def make(seed: int) -> Task:
        parts = {"train": (BASE_CLASSES, shots), "test": (CLASSES, DEMO_TEST_PICTURES)}
        for split, (classes, per_class) in parts.items():
            write_folder(
                folder / str(seed) / split,
                medium=DEMO_MEDIUM,
                class_names=classes,
                per_class=per_class,
                seed=seed,
                split="train" if split == "train" else "test",
            )
        test = read_folder(folder / str(seed) / "test")
        return Task(
            name="demo",
            seed=seed,
            train=read_folder(folder / str(seed) / "train"),
            base=test.only(BASE_CLASSES),
            novel=test.only([name for name in CLASSES if name not in BASE_CLASSES]),
        )

    return make


def dataset_tasks(name: str, root: Path, shots: int = 1) -> MakeTask:
    """Tasks of one of the benchmark datasets: CoOp's few-shot samples and base-to-novel halves.

    Args:
        name: as in `ipo_dspy.datasets`.
        root: the folder of all benchmark datasets.
        shots: images of each base class.

    Raises:
        DataError: the dataset is not there.
    """
    data = load_benchmark(name, root)
    base, novel = data.test.base_and_novel()

    def make(seed: int) -> Task:
        train, _ = data.few_shot(shots, seed)
        return Task(name, seed, train.base_and_novel()[0], base, novel)

    return make
