import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


def test_a_line_is_printed_for_each_image(run: Run, pictures: Path) -> None:
    outcome = run("describe", pictures, "--shots", 1)

    assert len(outcome.out.splitlines()) == 6
    assert "chalk" in outcome.out


@pytest.mark.slow
def test_written_descriptions_are_what_a_search_would_have_seen(run: Run, pictures: Path) -> None:
    def described(folder: str) -> list[str]:
        lines = Path(folder, "journal.jsonl").read_text().splitlines()
        events = [json.loads(line) for line in lines]
        return [event["description"]["text"] for event in events if "description" in event]

    quick = ("--shots", 2, "--seed", 3, "--steps", 1, "--prompts-per-step", 1)
    run("optimize", pictures, *quick, "--out", "own")
    run("describe", pictures, "--shots", 2, "--seed", 3, "--out", "texts.txt")
    run("optimize", pictures, *quick, "--image-model", "file:texts.txt", "--out", "from-file")

    assert described("from-file") == described("own")


def test_no_image_model_describes_nothing_and_says_so(run: Run, pictures: Path) -> None:
    outcome = run("describe", pictures, "--image-model", "none")

    assert outcome.code == 1
    assert "describes nothing" in outcome.err
