"""Every benchmark, read from `catalog.toml`, and loading one by its name."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from ipo_dspy.datasets.benchmark import Benchmark, BenchmarkImages, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.lists import Lists, SplitFile, VariantLists
from ipo_dspy.datasets.wordnet import NumberedFolders, WordNetFolders
from ipo_dspy.errors import DataError
from ipo_dspy.prompts.template import Template

_COOP_PAGE = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"
_LISTS: Mapping[str, type[Lists]] = {
    "split": SplitFile,
    "variants": VariantLists,
    "wordnet": WordNetFolders,
    "numbered": NumberedFolders,
}


def _benchmark(row: Mapping[str, Any]) -> Benchmark:
    lists = _LISTS[row["lists"].pop("form")](**row["lists"])
    parts = [
        Part(path, of_parts["source"].replace("{coop}", _COOP_PAGE), of_parts.get("by_hand", False))
        for of_parts in row["parts"]
        for path in of_parts["paths"]
    ]
    if isinstance(lists, SplitFile):
        source = f"a file on Google Drive, linked in {_COOP_PAGE}"
        parts.append(Part(lists.name, source, by_hand=True))
    kinds = {"counts": Counts, "base": Half, "novel": Half, "torchvision": Torchvision}
    records = {name: kind(**row[name]) for name, kind in kinds.items() if name in row}
    template = Template(row["template"])
    return Benchmark(
        **{**row, **records, "lists": lists, "parts": tuple(parts), "template": template}
    )


_TABLE = tomllib.loads(files(__package__).joinpath("catalog.toml").read_text(encoding="utf-8"))

BENCHMARKS = tuple(_benchmark(row) for row in _TABLE["benchmarks"])
"""All fifteen, in the order of publications."""

BASE_TO_NOVEL = tuple(benchmark for benchmark in BENCHMARKS if benchmark.base)
"""The eleven datasets of the base-to-novel protocol, in the order of publications."""

IMAGENET_VARIANTS = tuple(benchmark for benchmark in BENCHMARKS if not benchmark.base)
"""The four test sets of domain generalization."""


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
