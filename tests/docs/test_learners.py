"""What the page on learners shows runs as written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ipo_dspy.demo.world import draw, write_folder

PAGE = (Path(__file__).parents[2] / "docs" / "learners.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    write_folder(
        tmp_path / "photos",
        medium="photo",
        class_names=("cat", "boat"),
        per_class=16,
        seed=0,
        split="train",
    )
    draw("cat", "photo", seed=7).save(tmp_path / "cat.jpg")
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    label, *words, parameters = done.stdout.splitlines()
    assert label == "cat"
    assert words[0].startswith("vector 1: ")
    assert int(parameters) == 4 * 128 + 64
