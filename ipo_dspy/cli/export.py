"""`ipo-dspy export`: what was found, as a file for other code."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ipo_dspy import registry
from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Exporter, Found
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.runs.folder import write_together
from ipo_dspy.terminal.output import results

_PROGRAM = "program.json"


def export(found: Path, /, *, to: str = "weights", out: Path | None = None) -> None:
    """Write a found prompt as a file for other code.

    Args:
        found: a run folder, or a program that was saved.
        to: 'weights' (class weights as safetensors, with the class names), 'program', or what an
            installed plug-in registers.
        out: file to write; by default one in this folder, named after the run.
    """
    exporter: Exporter = registry.find("exports", to)()
    program = found / _PROGRAM if found.is_dir() else found
    if not program.is_file():
        raise ArgumentError(
            f"{found} is neither a run folder with a {_PROGRAM} nor a saved program."
        )
    name = found.resolve().name if found.is_dir() else found.stem
    path = out or Path(f"{name}-{to}{exporter.suffix}")
    write_together(path, partial(exporter.write, found=Found(CLIPClassifier.from_file(program))))
    results.print(f"Written: {path}", soft_wrap=True)
