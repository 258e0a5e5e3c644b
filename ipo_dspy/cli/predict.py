"""`ipo-dspy predict`: labels for images that have none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Annotated

from cyclopts import Parameter
from rich import box
from rich.table import Table
from rich.text import Text

from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.labels import (
    LabelCounts,
    check_labels_file,
    is_labels_file,
    write_labels,
)
from ipo_dspy.images.labeled import LeftOut
from ipo_dspy.images.unlabelled import find_images
from ipo_dspy.programs.labelling import label_images
from ipo_dspy.runs.folder import claim_file
from ipo_dspy.terminal.options import LOCAL, SavedEncoderOptions, Whole
from ipo_dspy.terminal.output import counted, counting, remark, results, stage
from ipo_dspy.terminal.parts import read_program_of

_MOST_CLASSES = 20


def predict(
    *images: Annotated[Path, Parameter(json_list=False)],
    program: Path,
    out: Path = Path("labels.csv"),
    top_k: Whole = 5,
    threshold: float = 0.0,
    encoder: SavedEncoderOptions = SavedEncoderOptions(),  # noqa: B008 - frozen
) -> None:
    """Label images with a found prompt, and write a table of them.

    Args:
        images: folders, whose images count however deep they lie; tables with a column path; image
            files.
        program: a run folder, or a program that was saved.
        out: table to write, by its ending .csv, .tsv, .jsonl or .parquet: path, label, probability,
            why an image cannot be read, and the most probable classes.
        top_k: how many of the most probable classes to write.
        threshold: a label less probable than this is left empty, 0 to 1.
    """
    check_labels_file(out)
    claim_file(out, images)
    if out.exists() and not is_labels_file(out):
        raise ArgumentError(
            f"{out} is there already and is no table that predict wrote; name another file with "
            "--out, or move it away."
        )
    classify = read_program_of(program, encoder)
    with stage("Looking for images"):
        found = find_images(*images)
    _tell_left_out(found.left_out)
    began = monotonic()
    if encoder.backend != LOCAL:
        # All at once, for a cluster takes seconds to begin.
        with counting("Embedding") as advance:
            classify.embedder.fill_store(found.files, advance)
    labels = label_images(classify, found.files, top_k=top_k, threshold=threshold, progress=False)
    counts = write_labels(counted("Labelling", labels, len(found)), out)
    seconds = monotonic() - began
    _print(counts, threshold)
    results.print(
        f"{many(len(found))} in {seconds:.1f} s, {len(found) / max(seconds, 1e-9):,.0f} a "
        f"second. Written: {out}",
        soft_wrap=True,
    )


def _tell_left_out(left_out: Iterable[LeftOut]) -> None:
    kinds = Counter(each.reason for each in left_out)
    if kinds:
        told = ", ".join(f"{count} {reason}" for reason, count in kinds.most_common())
        remark(f"Left out, for they are no images by their names: {told}.")


def _print(counts: LabelCounts, threshold: float) -> None:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("label")
    table.add_column("images", justify="right")
    for label, count in counts.per_class.most_common(_MOST_CLASSES):
        table.add_row(Text(label), f"{count:,}")
    more = len(counts.per_class) - _MOST_CLASSES
    if more > 0:
        table.add_row(f"{more} more labels", f"{sum(counts.per_class.values()):,} in all")
    results.print(table)
    if counts.below:
        results.print(f"No class reaches {threshold:g}, so no label: {many(counts.below)}.")
    if counts.unreadable:
        results.print(f"Cannot be read, see the column error: {many(counts.unreadable)}.")


def many(images: int) -> str:
    """Write a number of images in words."""
    return "1 image" if images == 1 else f"{images:,} images"
