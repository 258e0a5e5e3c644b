from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipo_dspy.datasets import BENCHMARKS

Run = Callable[..., Any]


def test_every_dataset_is_spoken_of(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    outcome = run("check-data", "data")

    assert outcome.code == 0
    for benchmark in BENCHMARKS:
        assert benchmark.name in outcome.out
    assert f"0 of {len(BENCHMARKS)} datasets are complete." in outcome.out


def test_commands_to_type_stay_on_one_line(run: Run, tmp_path: Path) -> None:
    root = tmp_path / ("deep" * 20)
    root.mkdir()

    typed = [line for line in run("check-data", root).out.splitlines() if "type: " in line]
    assert typed
    assert all(line.rstrip().endswith('"') for line in typed)


def test_a_missing_root_is_a_sentence(run: Run) -> None:
    outcome = run("check-data", "nowhere")

    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith("ipo-dspy: there is no folder nowhere")
