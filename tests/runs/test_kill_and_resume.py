"""`kill -9` at any moment, the same command again: it goes on, and ends as if never stopped.

Every run is a process of its own, forked from a server that has done the slow imports.
"""

import json
import multiprocessing
import os
import random
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from ipo_dspy.cli import main
from ipo_dspy.demo.task import demo_task
from ipo_dspy.demo.world import DEMO_MEDIUM, write_folder

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "20"))
STEPS, PROMPTS = 20, 3
PATIENCE = 60.0


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """A search on four classes; the run folder comes last."""
    write_folder(
        tmp_path / "pictures",
        medium=DEMO_MEDIUM,
        class_names=("apple", "boat", "cup", "fish"),
        per_class=4,
        seed=7,
        split="test",
    )
    search = ["--steps", str(STEPS), "--prompts-per-step", str(PROMPTS)]
    return ["optimize", str(tmp_path / "pictures"), *search, "--out"]


@pytest.fixture
def start(command: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], BaseProcess]:
    """Start the search in a process of its own, for a run folder."""
    # Processes take the environment of the server that forks them.
    monkeypatch.setenv("IPO_DSPY_CACHE", "off")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ipo_dspy.cli", "ipo_dspy.encoders.open_clip"])

    def begin(run_folder: Path) -> BaseProcess:
        process = context.Process(target=main, args=([*command, str(run_folder)],))
        process.start()
        return process

    return begin


def lines(run_folder: Path) -> int:
    journal = run_folder / "journal.jsonl"
    return journal.read_bytes().count(b"\n") if journal.exists() else 0


def events(run_folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_folder / "journal.jsonl").read_text().splitlines()]


def finish(process: BaseProcess) -> None:
    process.join(PATIENCE)
    assert process.exitcode == 0


def kill_after(process: BaseProcess, run_folder: Path, more_lines: int, seconds: float) -> bool:
    """Kill a run when its journal has grown, a little later; tell whether it was still alive."""
    enough = lines(run_folder) + more_lines
    end = time.monotonic() + PATIENCE
    while process.is_alive() and lines(run_folder) < enough and time.monotonic() < end:
        time.sleep(0.0005)
    time.sleep(seconds)
    alive = process.is_alive()
    process.kill()
    process.join(PATIENCE)
    return alive


def test_runs_killed_at_many_moments_end_as_if_never_stopped(
    start: Callable[[Path], BaseProcess], tmp_path: Path
) -> None:
    chance = random.Random(5)
    whole = tmp_path / "whole"
    finish(start(whole))

    folders = [tmp_path / "killed-0"]
    kills = 0
    while kills < KILLS:
        starting, searching = (0, chance.uniform(0, 0.5)), (chance.randint(1, 6), 0.0)
        soon = (chance.randint(1, 3), chance.uniform(0, 0.01))
        process = start(folders[-1])
        kills += kill_after(process, folders[-1], *chance.choice([starting, searching, soon]))
        if process.exitcode == 0:
            folders.append(tmp_path / f"killed-{len(folders)}")
    finish(start(folders[-1]))

    for folder in folders:
        assert (folder / "program.json").read_bytes() == (whole / "program.json").read_bytes()
        for kind in ("reply", "trial"):
            made = [(e[kind]["step"], e[kind]["slot"]) for e in events(folder) if kind in e]
            assert len(made) == len(set(made))
            calls = {(step, slot) for step in range(1, STEPS + 1) for slot in range(PROMPTS)}
            assert calls <= set(made)


def test_pictures_of_the_demo_are_all_there_or_none_and_a_kill_leaves_no_litter(
    tmp_path: Path,
) -> None:
    pictures = tmp_path / "pictures"
    context = multiprocessing.get_context("forkserver")
    process = context.Process(target=demo_task, args=(pictures,))
    process.start()
    end = time.monotonic() + PATIENCE
    while not list(pictures.glob(".part-*/test/*/*.png")) and time.monotonic() < end:
        time.sleep(0.001)
    process.kill()
    process.join(PATIENCE)

    assert not list(pictures.glob("seed*"))
    task = demo_task(pictures)
    assert {part: len(images) for part, images in task.tests.items()} == {
        "base": 240,
        "novel": 240,
    }
    assert not list(pictures.glob(".part-*"))
