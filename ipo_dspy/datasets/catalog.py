"""Every benchmark, and loading one by its name."""

from __future__ import annotations

import os
from pathlib import Path

from ipo_dspy.datasets.benchmark import Benchmark, BenchmarkImages
from ipo_dspy.datasets.caltech101 import CALTECH101
from ipo_dspy.datasets.dtd import DTD
from ipo_dspy.datasets.eurosat import EUROSAT
from ipo_dspy.datasets.fgvc_aircraft import FGVC_AIRCRAFT
from ipo_dspy.datasets.flowers102 import FLOWERS102
from ipo_dspy.datasets.food101 import FOOD101
from ipo_dspy.datasets.imagenet import IMAGENET
from ipo_dspy.datasets.imagenet_a import IMAGENET_A
from ipo_dspy.datasets.imagenet_r import IMAGENET_R
from ipo_dspy.datasets.imagenet_sketch import IMAGENET_SKETCH
from ipo_dspy.datasets.imagenet_v2 import IMAGENET_V2
from ipo_dspy.datasets.oxford_pets import OXFORD_PETS
from ipo_dspy.datasets.stanford_cars import STANFORD_CARS
from ipo_dspy.datasets.sun397 import SUN397
from ipo_dspy.datasets.ucf101 import UCF101
from ipo_dspy.errors import DataError

BASE_TO_NOVEL: tuple[Benchmark, ...] = (
    IMAGENET,
    CALTECH101,
    OXFORD_PETS,
    STANFORD_CARS,
    FLOWERS102,
    FOOD101,
    FGVC_AIRCRAFT,
    SUN397,
    DTD,
    EUROSAT,
    UCF101,
)
"""The eleven datasets of the base-to-novel protocol, in the order of publications."""

IMAGENET_VARIANTS: tuple[Benchmark, ...] = (
    IMAGENET_V2,
    IMAGENET_SKETCH,
    IMAGENET_A,
    IMAGENET_R,
)
"""The four test sets of domain generalization."""

BENCHMARKS = BASE_TO_NOVEL + IMAGENET_VARIANTS


def find_benchmark(name: str) -> Benchmark:
    """A benchmark by its name or its folder; letter case, `-` and `_` do not matter.

    Raises:
        DataError: there is none of that name.
    """
    wanted = _plain(name)
    for benchmark in BENCHMARKS:
        if wanted in (_plain(benchmark.name), _plain(benchmark.folder)):
            return benchmark
    known = ", ".join(benchmark.name for benchmark in BENCHMARKS)
    raise DataError(f"there is no benchmark {name!r}; the names are {known}")


def load_benchmark(name: str, root: str | os.PathLike[str]) -> BenchmarkImages:
    """Read the lists of a benchmark; no image is opened.

    Args:
        name: such as `Flowers102`.
        root: the folder of all benchmarks, which holds `oxford_flowers` and so on.

    Raises:
        DataError: there is no such benchmark, or something of it is missing or damaged.
    """
    return find_benchmark(name).load(Path(root))


def _plain(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "").replace(" ", "")
