"""The recipes of CONTRIBUTING run as written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_each_seam_that_has_no_page_of_its_own_has_a_recipe() -> None:
    checks = {check for recipe in RECIPES for check in re.findall(r"check_\w+", recipe)}
    assert checks == {"check_strategy", "check_backend", "check_exporter"}
    assert "docs/learners.md" in PAGE


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_runs(recipe: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", recipe], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
