from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.mark.slow
def test_a_plan_tells_the_calls_that_optimize_makes(run: Run, pictures: Path) -> None:
    options = ("--steps", 4, "--prompts-per-step", 3)
    planned = run("plan", pictures, *options)
    made = run("optimize", pictures, *options)

    assert "prompt model 'offline': 12," in planned.out
    assert "12 calls of the prompt model" in made.out


def test_a_plan_counts_one_call_for_each_described_image(run: Run, pictures: Path) -> None:
    outcome = run("plan", pictures, "--image-model", "openai/sees", "--shots", 2)

    assert "image model 'openai/sees': 12." in outcome.out


@pytest.mark.slow
def test_a_plan_leaves_nothing_behind(run: Run, tmp_path: Path) -> None:
    outcome = run("plan")

    assert outcome.code == 0
    assert "24 images of 24 classes" in outcome.out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "images", "calls"),
    [((), 18, 150), (("--preset", "paper"), 3, 500), (("--preset", "paper", "--shots", 2), 6, 500)],
)
def test_the_preset_gives_the_papers_settings_and_the_user_wins(
    run: Run, pictures: Path, options: tuple[object, ...], images: int, calls: int
) -> None:
    planned = run("plan", pictures, *options).out

    assert planned.startswith(f"{images} images of ")
    assert f"prompt model 'offline': {calls}," in planned
