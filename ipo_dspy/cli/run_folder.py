"""The name of the run folder of a command."""

from __future__ import annotations

import re
from pathlib import Path

from ipo_dspy.cli.tasks import task_name
from ipo_dspy.terminal.options import RunOptions


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
