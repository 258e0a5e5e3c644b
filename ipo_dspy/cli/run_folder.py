"""The folder of a run: its name, and files that are whole or not there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from ipo_dspy.cli.options import RunOptions
from ipo_dspy.cli.tasks import task_name


def default_run_folder(source: Path | None, run: RunOptions) -> Path:
    """Name the run folder: the same for the same command, another for other images or models."""
    standard = RunOptions()
    parts = [task_name(source)]
    if run.encoder.clip != standard.encoder.clip:
        parts.append(run.encoder.clip)
    if run.proposing.prompt_model != standard.proposing.prompt_model:
        parts.append(run.proposing.prompt_model)
    if run.search.preset is not None:
        parts.append(run.search.preset)
    if run.sampling.shots is not None:
        parts.append(f"shots{run.sampling.shots}")
    if run.sampling.novel:
        parts.append("novel")
    if run.describing.image_model != standard.describing.image_model:
        parts.append(run.describing.image_model)
    parts.append(f"seed{run.sampling.seed}")
    return Path("runs", "-".join(re.sub(r"[^\w.]+", "-", part).strip("-.") for part in parts))


def make_run_folder(folder: Path, images: Path | None = None) -> None:
    """Make the folder, and make sure that it can be written.

    Args:
        folder: the run folder.
        images: the folder of the images; a run folder in it would be taken for a class.

    Raises:
        ValueError: it cannot be made or written, or lies among the images.
    """
    if images is not None and images.is_dir() and folder.resolve().is_relative_to(images.resolve()):
        raise ValueError(
            f"The run folder {folder} would lie among the images of {images}; choose another "
            f"with --out, such as {images.resolve().parent / 'runs'}."
        )
    probe = folder / ".probe"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"The run folder {folder} cannot be used ({error.strerror}); choose another with --out."
        ) from error


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name first, so that it is never seen half-written.

    Args:
        path: the file.
        write: writes to the path that it is given.
    """
    # DSPy chooses the format by the suffix.
    unfinished = path.with_name(f".part-{path.name}")
    write(unfinished)
    unfinished.replace(path)
