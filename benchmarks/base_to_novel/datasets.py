"""The data sets that are there, each with its tasks and the template written for it by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.base_to_novel.options import DataOptions
from ipo_dspy.datasets import (
    BASE_TO_NOVEL,
    Benchmark,
    BenchmarkState,
    check_data,
    find_benchmark,
)
from ipo_dspy.datasets.lists import missing_images
from ipo_dspy.datasets.task import benchmark_tasks
from ipo_dspy.demo.task import demo_task
from ipo_dspy.errors import ArgumentError, DataError
from ipo_dspy.images.task import MakeTask
from ipo_dspy.prompts.template import Template
from ipo_dspy.terminal.output import remark, stage

DEMO_TEMPLATE = Template("a chalk drawing of a <CLASS> on a blackboard.")
"""What a person who knows the demo's pictures would write, as CLIP's authors did for theirs."""


@dataclass(frozen=True)
class Dataset:
    """One data set of the table.

    Attributes:
        name: as the poster writes it.
        template: written for it by hand.
        open: reads its lists and gives its tasks.
        benchmark: what is published about it; None for the demo.
    """

    name: str
    template: Template
    open: Callable[[], MakeTask]
    benchmark: Benchmark | None = None


def find_datasets(options: DataOptions, runs: Path) -> list[Dataset]:
    """Find the data sets that the options ask for, and say which are left out.

    Args:
        options: where to look, and for what.
        runs: folder of the runs; takes the pictures of the demo.

    Raises:
        DataError: there is none, or one that is asked for is not complete.
        ArgumentError: the options do not fit together.
    """
    if not options.seeds:
        raise ArgumentError("Expected at least one seed, got none; give --seeds 1 2 3.")
    if options.shots < 1:
        raise ArgumentError(f"--shots must be at least 1, got {options.shots}.")
    if options.demo == (options.root is not None) or (options.demo and options.datasets):
        raise ArgumentError(
            "Give either --root with the folder of the benchmark datasets, or --demo for the demo "
            "world, which needs no data."
        )
    if options.root is None:
        demo: MakeTask = partial(demo_task, runs / "pictures", shots=options.shots)
        return [Dataset("demo", DEMO_TEMPLATE, lambda: demo)]
    wanted = [_halved(name) for name in options.datasets] or list(BASE_TO_NOVEL)
    with stage(f"Looking through {options.root}"):
        lacking = {s.benchmark.name: (s, _lack(s)) for s in check_data(options.root, wanted)}
    complete = [state for state, lack in lacking.values() if not lack]
    left_out = {name: lack for name, (_, lack) in lacking.items() if lack}
    advice = f"ipo-dspy check-data {options.root} says what is missing and where to get it"
    if options.datasets and left_out:
        name, lack = next(iter(left_out.items()))
        raise DataError(f"{name} is not complete in {options.root}: {lack}; {advice}")
    if not complete:
        raise DataError(f"no dataset of the base-to-novel protocol is in {options.root}; {advice}")
    if left_out:
        remark(f"Left out, as not complete: {', '.join(left_out)}; {advice}.")
    return [_dataset(state, options) for state in complete]


def _halved(name: str) -> Benchmark:
    benchmark = find_benchmark(name)
    if benchmark not in BASE_TO_NOVEL:
        known = ", ".join(known.name for known in BASE_TO_NOVEL)
        raise DataError(f"{benchmark.name} is not tested on base and novel halves; choose {known}")
    return benchmark


def _lack(state: BenchmarkState) -> str:
    """Tell why a data set cannot be used; an empty text where it can."""
    if state.missing:
        return f"it lacks {', '.join(part.path for part in state.missing)}"
    if not state.faults:
        return ""
    try:
        data = state.benchmark.load(state.root)
    except DataError as error:
        return str(error)
    missing = missing_images(data.image_folder, data.lists)
    return f"{len(missing):,} listed images are not there, such as {missing[0]}" if missing else ""


def _dataset(state: BenchmarkState, options: DataOptions) -> Dataset:
    benchmark = state.benchmark
    if state.faults:
        remark(f"{benchmark.name}: {'; '.join(state.faults)}.")
    tasks = partial(benchmark_tasks, benchmark.name, state.root, options.shots)
    return Dataset(benchmark.name, benchmark.template, tasks, benchmark)
