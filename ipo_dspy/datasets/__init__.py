"""The benchmark datasets in CoOp's layout of folders, with its splits and few-shot samples."""

from ipo_dspy.datasets.benchmark import Benchmark, BenchmarkImages, Counts, Half
from ipo_dspy.datasets.catalog import (
    BASE_TO_NOVEL,
    BENCHMARKS,
    IMAGENET_VARIANTS,
    find_benchmark,
    load_benchmark,
)
from ipo_dspy.datasets.check import BenchmarkState, check_data, describe_states
from ipo_dspy.datasets.fetch import fetch
from ipo_dspy.datasets.published import published_prompts
from ipo_dspy.datasets.wordnet import write_wordnet_names

__all__ = [
    "BASE_TO_NOVEL",
    "BENCHMARKS",
    "IMAGENET_VARIANTS",
    "Benchmark",
    "BenchmarkImages",
    "BenchmarkState",
    "Counts",
    "Half",
    "check_data",
    "describe_states",
    "fetch",
    "find_benchmark",
    "load_benchmark",
    "published_prompts",
    "write_wordnet_names",
]
