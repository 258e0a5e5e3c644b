"""The run folder of a command: the same for the same command, and another for any other."""

from __future__ import annotations

import os
import re
from dataclasses import asdict, fields
from pathlib import Path

from ipo_dspy.images.readers.folder import files_below
from ipo_dspy.images.task import task_name
from ipo_dspy.runs.folder import folder_for
from ipo_dspy.runs.identity import identity
from ipo_dspy.runs.identity.content import without_secrets
from ipo_dspy.terminal.options import RunOptions


def default_run_folder(source: Path | None, run: RunOptions) -> Path:
    """Name the run folder after images, models and seed, and number those that differ otherwise."""
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
    name = "-".join(re.sub(r"[^\w.]+", "-", part).strip("-.") for part in parts)
    return folder_for(Path("runs", name), work_of(source, run))


def work_of(source: Path | None, run: RunOptions) -> str:
    """The identity of what a command does: its images, without reading them, and its options.

    How long it goes on makes no difference, nor do keys and patience.
    """
    describing, search, test = run.describing, run.search, run.unseen.test
    own_test = {} if test is None else {"test": (str(test.resolve()), _listed(test))}
    return identity(
        {
            "images": None if source is None else (os.path.realpath(source), _listed(source)),
            "class names": _content(run.reading.class_names),
            "skip bad images": run.reading.skip_bad_images,
            "drawing": asdict(run.drawing),
            "encoder": run.encoder.decisive,
            "prompt model": run.proposing.prompt_model,
            "image model": describing.image_model,
            "server": without_secrets(describing.api_base),
            "descriptions": _content(Path(describing.image_model.removeprefix("file:"))),
            "preset": search.preset,
            "search": [
                getattr(search, field.name)
                for field in fields(search)
                if field.name not in ("steps", "preset", "class_texts")
            ],
            **own_test,
        }
    )


def _listed(source: Path) -> object:
    """The files of a folder with their sizes, or the content of a table."""
    if not os.path.isdir(source):
        return _content(source)
    return [
        (str(file.relative_to(source)), file.stat().st_size)
        for file in files_below(source)
        if os.path.exists(file)
    ]


def _content(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None and path.is_file() else None
