import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.slow
def test_runs_are_listed_with_the_best_prompt_of_each(run: Run, pictures: Path) -> None:
    run("optimize", pictures, "--steps", 1, "--out", "runs/done")
    run("optimize", pictures, "--steps", 1, "--out", "runs/stopped", "--seed", 1)
    Path("runs/stopped/program.json").unlink()
    damaged = Path("runs/damaged/journal.jsonl")
    damaged.parent.mkdir()
    damaged.write_bytes(b"\xff\n{")

    outcome = run("runs")
    assert outcome.code == 0
    shown = " ".join(outcome.out.split())
    for word in ("runs/done", "runs/damaged", "not ended", "cannot be"):
        assert word in shown
    assert outcome.out.count("<CLASS>") == 2

    for ending in (".json", ".csv", ".md"):
        for _ in range(2):
            assert run("runs", "--out", f"found{ending}").code == 0
    found = {row["run"]: row for row in json.loads(Path("found.json").read_text())}
    assert found["runs/done"]["ended"]
    assert found["runs/done"]["images"] == 30 - 6 * 2
    assert not found["runs/stopped"]["ended"]
    assert found["runs/damaged"]["trouble"]
    assert len(list(csv.DictReader(Path("found.csv").read_text().splitlines()))) == 3
    assert len(Path("found.md").read_text().splitlines()) == 5
    assert run("compare", "a <CLASS>", pictures, "--out", "found.json").code == 1


def test_no_runs_are_no_error_and_no_folder_is_one(run: Run) -> None:
    assert run("runs").code == 1
    Path("runs").mkdir()
    assert run("runs").code == 0
