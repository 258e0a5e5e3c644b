from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_file_gives_options_and_the_command_line_comes_before_it(
    run: Run, pictures: Path
) -> None:
    Path("my.toml").write_text("[plan]\nsteps = 7\nprompts-per-step = 2\n[optimize]\nsteps = 1\n")
    assert " 14, with" in run("plan", pictures, "--config", "my.toml").out
    assert " 6, with" in run("plan", pictures, "--steps", 3, "--config", "my.toml").out
    # A file of one command does not outlast it.
    assert " 15, with" in run("plan", pictures, "--steps", 3).out


@pytest.mark.parametrize(
    ("content", "code", "expected"),
    [
        ("[plan]\nsteps = \n", 1, "line 2"),
        ("[plann]\nsteps = 1\n", 1, "[plan]"),
        ("steps = 1\n", 1, "steps"),
        ("[plan]\nstepps = 1\n", 2, "--steps"),
        ("[plan]\nsteps = 2.5\n", 1, "2.5"),
        ('[optimize]\nnovel = "yes"\n', 1, "true or false"),
        ("[optimize]\nclip = 3\n", 1, "a text in quotes"),
        ("[optimize]\nsteps = [1, 2]\n", 1, "a whole number"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(
    run: Run, pictures: Path, content: str, code: int, expected: str
) -> None:
    Path("my.toml").write_text(content)
    outcome = run("plan", pictures, "--config", "my.toml")
    assert outcome.code == code
    assert expected in outcome.err
    assert "Traceback" not in outcome.err


def test_a_file_that_is_not_there_is_refused(run: Run, pictures: Path) -> None:
    outcome = run("plan", pictures, "--config", "none.toml")
    assert outcome.code == 1
    assert "none.toml" in outcome.err


def test_no_file_is_taken_unasked(run: Run, pictures: Path) -> None:
    for name in ("ipo-dspy.toml", "pyproject.toml", "config.toml"):
        Path(name).write_text("[plan]\nsteps = 1\n")
    assert " 150, with" in run("plan", pictures).out
