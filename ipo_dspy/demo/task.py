"""The demo task: chalk drawings of everyday objects, drawn once and read again."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipo_dspy.demo.world import BASE_CLASSES, DEMO_MEDIUM, NOVEL_CLASSES, Split, write_folder
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
    return draw_task(pictures, seed, shots=shots, template=template)


def draw_task(
    pictures: Path,
    seed: int,
    *,
    shots: int | None = None,
    template: str | None = None,
    name: str = "demo",
    medium: str = DEMO_MEDIUM,
    base: Sequence[str] = BASE_CLASSES,
    novel: Sequence[str] = NOVEL_CLASSES,
) -> Task:
    """Draw a task of the demo world in any medium; see `demo_task`.

    Args:
        pictures: folder of the drawings of all seeds of this task.
        seed: of the drawings.
        shots: drawings of each base class to search on; None makes one.
        template: where the search begins; None takes `a photo of a <CLASS>.`
        name: of the task.
        medium: one of `MEDIA`.
        base: classes to search on.
        novel: classes that are kept unseen.

    Raises:
        ArgumentError: `shots` is below 1, or the world has no such class or medium.
        JournalError: another process has been drawing there for long.
        OSError: the pictures cannot be written.
    """
    shots = SHOTS if shots is None else shots
    if shots < 1:
        raise ArgumentError(f"shots={shots} is too few; expected at least 1.")
    both = [*base, *novel]
    drawn = pictures / f"seed{seed}-shots{shots}"
    if not drawn.exists():
        _draw_whole(drawn, medium, {"train": (base, shots), "test": (both, TEST_PICTURES)}, seed)
    test_images = read_folder(drawn / "test")
    tests = {"base": test_images.only(base), "novel": test_images.only(novel)}
    train_images = read_folder(drawn / "train")
    return Task(name, train_images, tests, template or DEFAULT_TEMPLATE.text, seed)


def _draw_whole(
    folder: Path, medium: str, parts: Mapping[Split, tuple[Sequence[str], int]], seed: int
) -> None:
    """Draw under another name first: a kill leaves nothing half, and the next one clears it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _drawing, hold(folder.parent):
        # Another process may have drawn the same meanwhile.
        if not folder.exists():
            unfinished = folder.with_name(f"{UNFINISHED}{secrets.token_hex(4)}")
            for split, (names, count) in parts.items():
                write_folder(
                    unfinished / split,
                    medium=medium,
                    class_names=names,
                    per_class=count,
                    seed=seed,
                    split=split,
                )
            unfinished.rename(folder)
