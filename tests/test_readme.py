"""README and its pages run as written, commands too, and their tables are the measured ones."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ipo_dspy.demo.world import draw, write_folder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/usage.md", "docs/other_optimizers.md", "docs/figures.md")
README = "\n".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
NEEDS_A_HUB = "open_clip:ViT-B-16-quickgelu/openai"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The commands of README, without the installation, which `.ci/run` does."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    installed = [re.sub(r"^pip install .*? && ", "", line.strip()) for line in lines]
    return [line for line in installed if not line.startswith(("pip install", "pytest"))]


@pytest.fixture
def person(tmp_path: Path) -> Path:
    """A folder in which a person has photos."""
    names = ("cat", "duck", "boat", "cup")
    write_folder(
        tmp_path / "photos", medium="photo", class_names=names, per_class=8, seed=0, split="train"
    )
    draw("cat", "photo", seed=7).save(tmp_path / "cat.jpg")
    rows = [f"photos/{name}/{number:03d}.png,{name}" for name in names for number in range(8)]
    (tmp_path / "photos.csv").write_text("\n".join(["path,label", *rows]))
    return tmp_path


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240
    )


def test_the_python_runs_as_written(person: Path) -> None:
    (person / "readme.py").write_text("\n".join(blocks("python")), encoding="utf-8")
    done = run([sys.executable, "readme.py"], person)
    assert done.returncode == 0, done.stderr
    assert (person / "pets.json").exists()
    template, label = done.stdout.splitlines()[:2]
    assert "<CLASS>" in template
    assert label == "cat"


def test_the_first_command_prints_what_is_shown(person: Path) -> None:
    [shown] = re.findall(r"<!-- output of ipo-dspy optimize -->\n```text\n(.*?)```", README, re.S)
    done = run(["ipo-dspy", "optimize"], person)
    assert done.returncode == 0, done.stderr
    printed = {line.strip() for line in done.stdout.splitlines()}
    # Prompt and figures may differ on another processor, whose rounding may settle a tie.
    fixed = [
        line.strip() for line in shown.splitlines() if not re.search(r"\d|<CLASS>|centre of", line)
    ]
    assert len(fixed) > 5
    assert set(fixed) <= printed


@pytest.mark.parametrize(
    "command", [c for c in commands() if NEEDS_A_HUB not in c and c != "ipo-dspy optimize"]
)
def test_the_other_commands_run_as_written(person: Path, command: str) -> None:
    done = run(["bash", "-c", command], person)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in commands() if NEEDS_A_HUB in c])
def test_without_a_hub_commands_that_need_one_end_in_one_sentence(
    person: Path, command: str
) -> None:
    # A closed port stands for a machine without a network.
    done = run(["bash", "-c", f"OPENAI_API_KEY=x HF_ENDPOINT=http://127.0.0.1:9 {command}"], person)
    assert done.returncode != 0
    [complaint] = [line for line in done.stderr.splitlines() if line.startswith("ipo-dspy: ")]
    assert "cannot be loaded" in complaint
    assert "Traceback" not in done.stderr


def test_the_tables_are_the_measured_ones() -> None:
    marks = re.findall(r"<!-- table (\S+) -->\n\n((?:\|.*\n)+)", README)
    assert len(marks) == README.count("<!-- table ")
    for file, table in marks:
        measured = (ROOT / file).read_text(encoding="utf-8")
        for line in table.splitlines():
            assert line in measured.splitlines(), f"{line} is not in {file}"
