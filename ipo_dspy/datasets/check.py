"""What of the benchmarks is on disk, what is missing, and where it is to be had."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ipo_dspy.datasets.benchmark import Benchmark, Part
from ipo_dspy.datasets.catalog import BENCHMARKS
from ipo_dspy.datasets.lists import ImageLists, missing_images, names_in
from ipo_dspy.errors import DataError

_MARKS = set('"$`\\!')


@dataclass(frozen=True)
class BenchmarkState:
    """What of one benchmark is on disk.

    Attributes:
        benchmark: which one.
        root: the folder of all benchmarks.
        found: the parts that are there.
        missing: the parts that are not.
        faults: sentences on what is there and damaged, incomplete, or not as published.
    """

    benchmark: Benchmark
    root: Path
    found: tuple[Part, ...]
    missing: tuple[Part, ...]
    faults: tuple[str, ...]

    @property
    def status(self) -> str:
        """`complete`, `partial` or `absent`."""
        if not self.found:
            return "absent"
        return "partial" if self.missing or self.faults else "complete"

    @property
    def advice(self) -> tuple[str, ...]:
        """Where the missing parts are to be had and what to type, a line for each source."""
        paths: dict[str, list[str]] = {}
        for part in self.missing:
            paths.setdefault(part.source, []).append(part.path)
        root = self.root.as_posix()
        lines = [
            f"needs {', '.join(some)}: {source.format(root=root)}" for source, some in paths.items()
        ]
        if self.benchmark.torchvision and not all(part.by_hand for part in self.missing):
            lines.append(f"type: {fetch_command(self.benchmark, self.root)}")
        return tuple(lines)


def check_data(
    root: str | os.PathLike[str], benchmarks: Iterable[Benchmark] = BENCHMARKS
) -> list[BenchmarkState]:
    """Look for every benchmark: parts, lists, and whether each listed image is there.

    Folders are listed; no image is opened. Lists are compared with the published counts.

    Args:
        root: the folder of all benchmarks, which holds `imagenet`, `oxford_flowers` and so on.
        benchmarks: which to look for.

    Raises:
        DataError: `root` is missing, is a file, or is one folder too deep or too high.
    """
    folder = Path(root)
    wanted = tuple(benchmarks)
    _check_root(folder, wanted)
    return [_state(benchmark, folder) for benchmark in wanted]


def describe_states(states: Sequence[BenchmarkState]) -> list[str]:
    """The states as lines of text: each benchmark with what it needs, and a sum at the end."""
    lines = []
    for state in states:
        benchmark, counts = state.benchmark, state.benchmark.counts
        lines.append(
            f"{benchmark.name:<16}{state.status:<10}{state.root / benchmark.folder} "
            f"({counts.classes:,} classes, {counts.test:,} test images)"
        )
        if state.found and state.missing:
            lines.append(f"    has {', '.join(part.path for part in state.found)}")
        lines += [f"    {line}" for line in (*state.faults, *state.advice)]
    complete = sum(state.status == "complete" for state in states)
    return [*lines, f"{complete} of {len(states)} datasets are complete."]


def fetch_command(benchmark: Benchmark, root: Path) -> str:
    """What to type to fetch a benchmark's images."""
    place = root.as_posix()
    code = f"from ipo_dspy.datasets import fetch; fetch({benchmark.name!r}, {place!r})"
    return "python -c " + (shlex.quote(code) if _MARKS & set(code) else f'"{code}"')


def _check_root(root: Path, benchmarks: Sequence[Benchmark]) -> None:
    if not root.exists():
        raise DataError(f"there is no folder {root}; check the path")
    if not root.is_dir():
        raise DataError(f"{root} is a file; give the folder that holds the datasets' folders")
    folders = {benchmark.folder for benchmark in benchmarks}
    entries = names_in(root)
    if folders & entries:
        return
    for benchmark in benchmarks:
        own = [part.path for part in benchmark.parts if (root / part.path).exists()]
        if any(path.endswith(".json") for path in own) or (own and root.name == benchmark.folder):
            raise DataError(
                f"{root} is the folder of {benchmark.name} itself; "
                f"give the folder that holds it, {root.absolute().parent}"
            )
    for name in sorted(entries):
        if folders & names_in(root / name):
            raise DataError(
                f"{root} holds no dataset's folder, but {root / name} does; give {root / name}"
            )


def _state(benchmark: Benchmark, root: Path) -> BenchmarkState:
    folder = root / benchmark.folder
    found = tuple(part for part in benchmark.parts if (folder / part.path).exists())
    missing = tuple(part for part in benchmark.parts if part not in found)
    faults = () if missing else tuple(_faults(benchmark, folder))
    return BenchmarkState(benchmark, root, found, missing, faults)


def _faults(benchmark: Benchmark, folder: Path) -> Iterator[str]:
    try:
        lists = benchmark.lists.read(folder)
    except DataError as error:
        yield str(error)
        return
    yield from _other_counts(benchmark, lists)
    if missing := missing_images(folder / benchmark.images, lists):
        listed = len(lists.train) + len(lists.val) + len(lists.test)
        yield (
            f"{len(missing):,} of {listed:,} listed images are not in {folder / benchmark.images}, "
            f"such as {missing[0]}; remove that folder and fetch or unpack it again"
        )


def _other_counts(benchmark: Benchmark, lists: ImageLists) -> Iterator[str]:
    counts = benchmark.counts
    pairs = (
        ("classes", len(lists.classnames), counts.classes),
        ("training images", len(lists.train), counts.train),
        ("validation images", len(lists.val), counts.val),
        ("test images", len(lists.test), counts.test),
    )
    for what, found, published in pairs:
        if found != published:
            yield (
                f"{found:,} {what} instead of the published {published:,}; "
                "results will not compare with publications"
            )
