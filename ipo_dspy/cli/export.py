"""`ipo-dspy export`: what was found, as files for other tools."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

from ipo_dspy import registry
from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Explained, Exporter, Found
from ipo_dspy.images.unlabelled import find_images
from ipo_dspy.runs.folder import JOURNAL_FILE, PROGRAM_FILE, REPORT_FILE, claim_file, write_together
from ipo_dspy.terminal.options import Paths, SavedEncoderOptions
from ipo_dspy.terminal.output import results, stage
from ipo_dspy.terminal.parts import read_program_of

_RUN_FILES = (PROGRAM_FILE, REPORT_FILE, JOURNAL_FILE)


def export(
    found: Path,
    /,
    *,
    to: str = "weights",
    out: Path | None = None,
    dataset: str = Found.dataset,
    images: Paths = (),
    encoder: SavedEncoderOptions = SavedEncoderOptions(),  # noqa: B008 - frozen
) -> None:
    """Write a found prompt for another tool, and say how that uses it.

    Args:
        found: a run folder, or a program that was saved.
        to: 'open_clip', 'clip_benchmark', 'webdataset', 'huggingface', 'transformers_js',
            'fiftyone', 'autodistill' or 'label_studio' for these tools, 'weights' (class weights as
            safetensors, which carry any prompt) for any other, 'program', 'report' (that of a run
            folder), or what an installed plug-in registers.
        out: file to write, or folder where the tool takes several files; by default one here,
            named after the run.
        dataset: what CLIP_benchmark calls the data.
        images: images, or folders of them, that label_studio is given with their labels; may be
            given several times.
    """
    exporter: Exporter = registry.find("exports", to)()
    for option, target, is_given in (
        ("--images", "label_studio", bool(images)),
        ("--dataset", "clip_benchmark", dataset != Found.dataset),
    ):
        is_own = type(exporter).__module__.startswith("ipo_dspy.")
        if is_given and is_own and to != target:
            raise ArgumentError(f"{option} is for --to {target}, and --to {to} has no use for it.")
    name = found.resolve().name if found.is_dir() else found.stem
    path = out or Path(f"{name}-{to}{exporter.suffix}")
    if exporter.suffix:
        claim_file(path, (found, *(found / file for file in _RUN_FILES), *images))
    if to == "report":
        _copy_report(found, path)
    else:
        labelled = find_images(*images).files if images else ()
        what = Found(read_program_of(found, encoder), dataset=dataset, images=labelled)
        _write(exporter, path, what)


def _write(exporter: Exporter, path: Path, what: Found) -> None:
    with stage(f"Writing {path}"):
        if exporter.suffix:
            write_together(path, partial(exporter.write, found=what))
        else:
            exporter.write(path, what)
    results.print(f"Written: {path}", soft_wrap=True)
    if isinstance(exporter, Explained):
        results.print()
        for line in exporter.usage(path, what):
            results.print(f"  {line}", soft_wrap=True)


def _copy_report(found: Path, path: Path) -> None:
    """Copy the report of a run: a search draws it, and a program alone does not tell of it."""
    report = found / REPORT_FILE
    if not report.is_file():
        raise ArgumentError(
            f"{found} holds no {REPORT_FILE}; ipo-dspy optimize writes one into the folder of its "
            "run."
        )
    write_together(path, partial(shutil.copyfile, report))
    results.print(f"Written: {path}", soft_wrap=True)
