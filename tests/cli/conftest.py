"""The command line in this process, on a few drawings."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ipo_dspy.cli import main
from ipo_dspy.demo.world import DEMO_MEDIUM, write_folder

CLASSES = ("apple", "boat", "cup", "fish", "house", "key")
PER_CLASS = 5


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six classes of five chalk drawings."""
    folder = tmp_path_factory.mktemp("drawings")
    draw(folder, CLASSES, PER_CLASS)
    return folder


def draw(folder: Path, classes: tuple[str, ...], per_class: int) -> None:
    write_folder(
        folder, medium=DEMO_MEDIUM, class_names=classes, per_class=per_class, seed=7, split="test"
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in an empty working folder."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments: object) -> Outcome:
        code: int | str | None = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = end.code
        return Outcome(code if isinstance(code, int) else 0, *capsys.readouterr())

    return command
