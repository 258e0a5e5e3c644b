"""Tasks of the benchmark datasets: CoOp's few-shot samples and base-to-novel halves."""

from __future__ import annotations

from pathlib import Path

from ipo_dspy.datasets.catalog import load_benchmark
from ipo_dspy.images.task import MakeTask, Task
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE


def benchmark_tasks(name: str, root: Path, shots: int = 1) -> MakeTask:
    """Search on few shots of the base classes, test on all test images of both halves.

    All seeds share their test images.

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
        few = train.base_and_novel()[0]
        return Task(name, few, {"base": base, "novel": novel}, DEFAULT_TEMPLATE.text, seed)

    return make
