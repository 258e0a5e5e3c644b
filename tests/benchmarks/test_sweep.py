"""Tasks that fail alone, in sequence and by Ray."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks.ablations import __main__ as ablations
from benchmarks.base_to_novel import __main__ as base_to_novel
from benchmarks.sweep import Sweep
from ipo_dspy.errors import DataError
from ipo_dspy.terminal.options import EncoderOptions

from .conftest import Command

LOCAL = EncoderOptions()
RAY = EncoderOptions(backend="ray")


@dataclass(frozen=True)
class Square:
    """Keeps the square of a number in a file; some numbers fail, or end their process."""

    folder: Path

    def __call__(self, number: int) -> int:
        if number == 3:
            raise DataError("three is no number of ours")
        if number == 4:
            raise ZeroDivisionError("a fault")
        if number == 5 and not (self.folder / "died").exists():
            (self.folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 6:
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / f"{number}.txt").write_text(os.environ["IPO_DSPY_CACHE"])
        return number * number


@pytest.fixture
def by_value(ray_cluster: None) -> Iterator[None]:
    """Send the classes of this file to processes that cannot import it."""
    import ray.cloudpickle

    module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(module)
    yield
    ray.cloudpickle.unregister_pickle_by_value(module)


def test_in_sequence_tasks_are_done_when_they_are_asked_for(tmp_path: Path) -> None:
    sweep: Sweep[int] = Sweep(LOCAL)
    do = Square(tmp_path)
    sweep.spread(do, [1, 2, 3])
    assert list(tmp_path.iterdir()) == []
    assert sweep.attempt(2, partial(do, 2)) == 4
    with pytest.raises(DataError):
        sweep.attempt(3, partial(do, 3))


@pytest.mark.slow
@pytest.mark.usefixtures("by_value")
def test_by_ray_each_task_fails_alone_and_who_dies_once_is_done_again(tmp_path: Path) -> None:
    sweep: Sweep[int] = Sweep(RAY)
    sweep.spread(Square(tmp_path), [1, 2, 3, 4, 5, 6])
    assert sorted(file.stem for file in tmp_path.glob("*.txt")) == ["1", "2", "5"]
    assert sweep.problems.keys() == {3, 4, 6}
    assert sweep.problems[3] == "three is no number of ours"
    assert "ZeroDivisionError" in sweep.problems[4]
    assert "its process ended" in sweep.problems[6]
    assert (tmp_path / "1.txt").read_text() == os.environ["IPO_DSPY_CACHE"]
    assert sweep.attempt(3, lambda: 9) is None


@pytest.fixture
def run_of(command: Callable[[ModuleType], Command]) -> Callable[[ModuleType], Command]:
    return command


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_sweep_by_ray_gives_the_table_of_one_in_sequence(
    run_of: Callable[[ModuleType], Command], root: Path
) -> None:
    few = ("--root", root, "--datasets", "EuroSAT", "--steps", 2, "--prompts-per-step", 2)
    rest = ("--methods", "CLIP", "CoOp", "IPO", "--epochs", 1, "--seeds", 1, 2)
    run = run_of(base_to_novel)
    sequence = run(*few, *rest, "--runs", "one")
    spread = run(*few, *rest, "--runs", "other", "--backend", "ray")
    assert (sequence.code, spread.code) == (0, 0)
    assert "6 of 6" in spread.err

    def tables(out: str) -> str:
        head, _, tail = out.partition("## By data set")
        assert head
        return tail.partition("## What was trained")[0] + tail.partition("## Prompts")[2]

    assert tables(spread.out) == tables(sequence.out)
    again = run_of(ablations)(
        "descriptions", *few, "--seeds", 1, 2, "--runs", "other", "--backend", "ray"
    )
    assert again.code == 0
    assert "4 of 4" in again.err
