"""The gradient learners' rows, and tests on other data than what was trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from benchmarks.base_to_novel import __main__ as module
from benchmarks.base_to_novel.learning import METHODS, check_methods
from ipo_dspy.errors import ArgumentError

from ..conftest import Command

QUICK = ("--epochs", 1, "--seeds", 1)


@pytest.fixture
def run(command: Callable[[ModuleType], Command]) -> Command:
    return command(module)


def written(name: str) -> dict[str, Any]:
    return json.loads(Path("results", f"{name}.json").read_text())


def test_methods_come_in_the_posters_order_and_any_spelling() -> None:
    assert check_methods(("ipo", "MAPLE", "CLIP")) == ("CLIP", "MaPLe", "IPO")
    assert check_methods(METHODS) == METHODS
    for wrong in (("TPT",), ()):
        with pytest.raises(ArgumentError, match="CoPrompt"):
            check_methods(wrong)


@pytest.mark.slow
def test_learners_are_rows_beside_the_posters_and_trained_once(run: Command, root: Path) -> None:
    chosen = ("--root", root, "--datasets", "DTD", "--methods", "CLIP", "CoOp", "MaPLe", *QUICK)
    first = run(*chosen)
    assert first.code == 0
    [of_seed] = written("base_to_novel")["datasets"]["DTD"]["seeds"]
    assert of_seed["ipo"] is None
    learned = of_seed["learned"]
    assert list(learned) == ["CoOp", "MaPLe"]
    assert learned["CoOp"]["parameters"] == 4 * 128
    assert learned["CoOp"]["tested"]["base_images"] == 9
    assert "vector 4" in learned["CoOp"]["nearest_words"]
    rows = written("base_to_novel")["datasets"]["DTD"]["rows"]
    assert rows["MaPLe"]["poster"]["base"] > 0
    assert "What was trained" in first.out
    again = run(*chosen)
    assert "Training" not in again.err
    assert written("base_to_novel")["datasets"]["DTD"]["seeds"] == [of_seed]


@pytest.mark.slow
def test_one_training_is_tested_on_others(run: Command) -> None:
    chosen = ("--source", "chalk", "--targets", "chalk", "neon", "--methods", "CLIP", "CoOp", "IPO")
    outcome = run("--demo", *chosen, "--steps", 1, *QUICK)
    assert outcome.code == 0
    rows = written("transfer_chalk_demo")["rows"]
    assert list(rows) == ["CLIP, generic template", "CLIP, hand-written template", "CoOp", "IPO"]
    assert all(set(row[0]["right"]) == {"chalk", "neon"} for row in rows.values())
    assert rows["IPO"][0]["text"]
    assert rows["CoOp"][0]["trained"]["epochs"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("--demo", "--source", "chalk"),
        ("--demo", "--source", "chalk", "--targets", "neon", "--methods", "DCLIP", "IPO"),
        ("--source", "chalk", "--targets", "neon"),
        ("--demo", "--methods", "TPT"),
    ],
)
def test_options_that_do_not_fit_are_one_sentence(
    run: Command, arguments: tuple[object, ...]
) -> None:
    outcome = run(*arguments)
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
