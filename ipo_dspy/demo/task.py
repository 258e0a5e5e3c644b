"""The demo task: chalk drawings of everyday objects, drawn once and read again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from ipo_dspy.demo.world import BASE_CLASSES, DEMO_MEDIUM, NOVEL_CLASSES, write_folder
from ipo_dspy.errors import ArgumentError
from ipo_dspy.images import read_folder
from ipo_dspy.images.task import Task
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE

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
        OSError: the pictures cannot be written.
    """
    shots = SHOTS if shots is None else shots
    if shots < 1:
        raise ArgumentError(f"shots={shots} is too few; expected at least 1.")
    drawn = pictures / f"seed{seed}-shots{shots}"
    if not drawn.exists():
        with _whole(drawn) as unfinished:
            train, test = unfinished / "train", unfinished / "test"
            write_folder(
                train, medium=medium, class_names=base, per_class=shots, seed=seed, split="train"
            )
            write_folder(
                test,
                medium=medium,
                class_names=[*base, *novel],
                per_class=TEST_PICTURES,
                seed=seed,
                split="test",
            )
    test_images = read_folder(drawn / "test")
    tests = {"base": test_images.only(base), "novel": test_images.only(novel)}
    train_images = read_folder(drawn / "train")
    return Task(name, train_images, tests, template or DEFAULT_TEMPLATE.text, seed)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """Write under another name first: a kill leaves nothing half, and two may draw at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(mkdtemp(prefix=".part-", dir=folder.parent))
    yield unfinished
    try:
        unfinished.rename(folder)
    except OSError:
        # Another process was quicker, and drew the same.
        if not folder.exists():
            raise
        shutil.rmtree(unfinished)
