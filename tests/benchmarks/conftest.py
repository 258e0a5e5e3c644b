"""Small real data sets in CoOp's layout, and the commands in this process."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from ipo_dspy.datasets import find_benchmark
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.demo.world import CLASSES, Split, draw, picture_seed

MEDIUM = "woodcut"
"""So that not every picture is classified rightly."""
SIZES = {"train": 2, "val": 1, "test": 3}
"""Pictures of each class in the lists of a small data set."""
SMALL = {"DTD": CLASSES[:6], "EuroSAT": CLASSES[6:11]}
"""The small data sets, in the place of real ones, and their classes."""


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def put(root: Path, name: str, classnames: Sequence[str]) -> None:
    """Draw a data set, and write its split file."""
    benchmark = find_benchmark(name)
    assert isinstance(benchmark.lists, SplitFile)
    folder = root / benchmark.folder
    rows: dict[str, list[tuple[str, int, str]]] = {split: [] for split in SIZES}
    for label, classname in enumerate(classnames):
        for split, size in SIZES.items():
            for number in range(size):
                path = f"{classname}/{split}{number}.png"
                (folder / benchmark.images / classname).mkdir(parents=True, exist_ok=True)
                split_of_demo: Split = "train" if split == "train" else "test"
                seed = picture_seed(split_of_demo, len(split), number)
                picture = draw(classname, MEDIUM, seed)
                picture.save(folder / benchmark.images / path)
                rows[split].append((path, label, classname))
    (folder / benchmark.lists.name).write_text(json.dumps(rows))


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of benchmark datasets in which two are complete and one has its list alone."""
    folder = tmp_path_factory.mktemp("datasets")
    for name, classnames in SMALL.items():
        put(folder, name, classnames)
    (folder / "ucf101").mkdir()
    (folder / "ucf101" / "split_zhou_UCF101.json").write_text("{}")
    return folder


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[ModuleType], Command]:
    """Make a command of a benchmark's module; its results go to a folder of the test's own."""
    monkeypatch.chdir(tmp_path)

    def of(module: ModuleType) -> Command:
        def run(*arguments: object) -> Outcome:
            code: int | str | None = 0
            try:
                module.main([*map(str, arguments), "--out", "results"])
            except SystemExit as end:
                code = end.code
            return Outcome(code if isinstance(code, int) else 0, *capsys.readouterr())

        return run

    return of
