"""The demo task: chalk drawings of everyday objects, drawn once and read again."""

from __future__ import annotations

import secrets
import threading
from pathlib import Path

from ipo_dspy.demo.world import BASE_CLASSES, CLASSES, DEMO_MEDIUM, NOVEL_CLASSES, write_folder
from ipo_dspy.errors import ArgumentError
from ipo_dspy.images import read_folder
from ipo_dspy.images.task import Task
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE
from ipo_dspy.runs.folder import UNFINISHED, hold

_drawing = threading.Lock()
SHOTS = 1
TEST_PICTURES = 10
"""Unseen pictures of each class."""


def demo_task(
    pictures: Path, seed: int = 0, *, shots: int | None = None, template: str | None = None
) -> Task:
    """Draw the demo's pictures, where they are not there yet, and read them.

    Args:
        pictures: folder of the drawings of all seeds.
        seed: of the drawings.
        shots: drawings of each base class to search on; None makes one.
        template: where the search begins; None takes `a photo of a <CLASS>.`

    Raises:
        ArgumentError: `shots` is below 1.
        JournalError: another process has been drawing there for long.
        OSError: the pictures cannot be written.
    """
    shots = SHOTS if shots is None else shots
    if shots < 1:
        raise ArgumentError(f"shots={shots} is too few; expected at least 1.")
    drawn = pictures / f"seed{seed}-shots{shots}"
    if not drawn.exists():
        _draw_whole(drawn, shots, seed)
    test = read_folder(drawn / "test")
    tests = {"base": test.only(BASE_CLASSES), "novel": test.only(NOVEL_CLASSES)}
    train = read_folder(drawn / "train")
    return Task("demo", train, tests, template or DEFAULT_TEMPLATE.text, seed)


def _draw_whole(folder: Path, shots: int, seed: int) -> None:
    """Draw under another name first: a kill leaves nothing half, and the next one clears it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _drawing, hold(folder.parent):
        # Another process may have drawn the same meanwhile.
        if not folder.exists():
            unfinished = folder.with_name(f"{UNFINISHED}{secrets.token_hex(4)}")
            _draw(unfinished, shots, seed)
            unfinished.rename(folder)


def _draw(folder: Path, shots: int, seed: int) -> None:
    write_folder(
        folder / "train",
        medium=DEMO_MEDIUM,
        class_names=BASE_CLASSES,
        per_class=shots,
        seed=seed,
        split="train",
    )
    write_folder(
        folder / "test",
        medium=DEMO_MEDIUM,
        class_names=CLASSES,
        per_class=TEST_PICTURES,
        seed=seed,
        split="test",
    )
