"""What a run works on: images to search on, and unseen ones for the final figures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from ipo_dspy.demo.world import BASE_CLASSES, CLASSES, DEMO_MEDIUM, NOVEL_CLASSES, write_folder
from ipo_dspy.errors import ArgumentError, DataError, UnreadableImage
from ipo_dspy.images import LabeledImages, read_folder, read_table
from ipo_dspy.terminal.options import ReadingOptions, SamplingOptions

MOST_SHOTS = 16
"""Images of each class to search on, where there are as many; the largest number of the field."""
DEMO_SHOTS = 1
DEMO_TEST_PICTURES = 10
"""Unseen pictures of each class in the demo."""
TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
_LEAST_CLASSES_WITH_NOVEL = 4
_CLASSES_NAMED = 5


@dataclass(frozen=True)
class Task:
    """Images to search on, and unseen ones by the name of their part.

    The optimizer is given `train` and nothing else. Every part is told apart among its own classes.
    `remarks` are sentences that a reader of the figures should know.
    """

    name: str
    train: LabeledImages
    unseen: Mapping[str, LabeledImages]
    remarks: tuple[str, ...] = ()


def read_images(path: Path, options: ReadingOptions) -> LabeledImages:
    """Read a folder of class folders, or a table of paths and labels.

    Raises:
        DataError: the images cannot be used; the message says why.
    """
    read = read_table if path.suffix.lower() in TABLE_SUFFIXES else read_folder
    try:
        return read(path, names=options.class_names, skip_bad_images=options.skip_bad_images)
    except UnreadableImage as error:
        # The library speaks of its argument, the command line of its option.
        message = str(error).replace("skip_bad_images", "--skip-bad-images")
        raise UnreadableImage(message) from error


def folder_task(path: Path, reading: ReadingOptions, sampling: SamplingOptions) -> Task:
    """Divide a person's own images.

    Raises:
        DataError: the images cannot be used, or are too few to be divided as asked.
    """
    images = read_images(path, reading)
    if not sampling.novel:
        kept, held_out = _hold_out(images, sampling)
        unseen = {"held-out images": held_out} if held_out.examples else {}
        return Task(
            task_name(path),
            kept.few_shot(_shots(sampling, MOST_SHOTS), sampling.seed),
            unseen,
            _remarks(kept, held_out, sampling),
        )
    if len(images.classnames) < _LEAST_CLASSES_WITH_NOVEL:
        raise DataError(
            f"--novel needs at least {_LEAST_CLASSES_WITH_NOVEL} classes, two for each half; "
            f"there are {len(images.classnames)}"
        )
    base, novel = images.base_and_novel()
    kept, held_out = _hold_out(base, sampling)
    return Task(
        task_name(path),
        kept.few_shot(_shots(sampling, MOST_SHOTS), sampling.seed),
        {"base": held_out, "novel": novel} if held_out.examples else {"novel": novel},
        _remarks(kept, held_out, sampling),
    )


def demo_task(pictures: Path, sampling: SamplingOptions) -> Task:
    """Draw the demo's pictures, where they are not there yet, and read them.

    Raises:
        ArgumentError: `shots` is below 1.
        OSError: the pictures cannot be written.
    """
    shots = _shots(sampling, DEMO_SHOTS)
    drawn = pictures / f"seed{sampling.seed}-shots{shots}"
    if not drawn.exists():
        _draw_whole(drawn, shots, sampling.seed)
    test = read_folder(drawn / "test")
    unseen = {"base": test.only(BASE_CLASSES), "novel": test.only(NOVEL_CLASSES)}
    return Task("demo", read_folder(drawn / "train"), unseen)


def task_name(path: Path | None) -> str:
    """Name a task after its folder or table."""
    if path is None:
        return "demo"
    full = Path(os.path.abspath(path))
    return full.stem if full.suffix.lower() in TABLE_SUFFIXES else full.name


def _draw_whole(folder: Path, shots: int, seed: int) -> None:
    """Draw under another name first: a kill leaves nothing half, and two may draw at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(mkdtemp(prefix=".part-", dir=folder.parent))
    _draw(unfinished, shots, seed)
    try:
        unfinished.rename(folder)
    except OSError:
        # Another process was quicker, and drew the same.
        if not folder.exists():
            raise
        shutil.rmtree(unfinished)


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
        per_class=DEMO_TEST_PICTURES,
        seed=seed,
        split="test",
    )


def _shots(sampling: SamplingOptions, otherwise: int) -> int:
    shots = otherwise if sampling.shots is None else sampling.shots
    if shots < 1:
        raise ArgumentError(f"--shots must be at least 1, got {shots}.")
    return shots


def _hold_out(
    images: LabeledImages, sampling: SamplingOptions
) -> tuple[LabeledImages, LabeledImages]:
    share = sampling.hold_out
    if not 0 <= share < 1:
        raise ArgumentError(f"--hold-out must be at least 0 and below 1, got {share}.")
    if share == 0:
        return images, LabeledImages((), images.classnames)
    return images.split(share, sampling.seed)


def _remarks(
    kept: LabeledImages, held_out: LabeledImages, sampling: SamplingOptions
) -> tuple[str, ...]:
    if sampling.hold_out == 0:
        return ("No images are held out, so the figures are those of the search itself.",)
    held = {example.label for example in held_out.examples}
    lacking = [name for name in kept.classnames if name not in held]
    if not lacking:
        return ()
    some = ", ".join(lacking[:_CLASSES_NAMED])
    more = f" and {len(lacking) - _CLASSES_NAMED} more" if len(lacking) > _CLASSES_NAMED else ""
    one = "has" if len(lacking) == 1 else "have"
    return (f"{some}{more} {one} one image only, which the search needs; none is held out.",)
