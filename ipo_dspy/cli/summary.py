"""What a person reads when a search is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.gains import gains
from ipo_dspy.exports.report import Report
from ipo_dspy.exports.usage import open_clip_form, usage
from ipo_dspy.prompts.template import Template
from ipo_dspy.records import State
from ipo_dspy.runs.folder import JOURNAL_FILE, PROGRAM_FILE, REPORT_FILE
from ipo_dspy.scoring.comparison import Comparison, h_of, sides
from ipo_dspy.search.results import IPOResults

ENSEMBLE = "ensemble.json"
"""The file of the program that joins the best prompts."""
CLASS_TEXTS = "class_texts.json"
"""The file of the program that has texts for each class."""


def print_summary(
    console: Console, report: Report, *, run_folder: Path, picture: Path | None
) -> None:
    """Print the found prompt, how good it is, what it cost, and how to use it.

    Args:
        console: where to print.
        report: what there is to tell.
        run_folder: holds `program.json`.
        picture: a picture to show the usage with.
    """
    results, comparisons = report.results, report.comparisons
    if results is None:
        raise ArgumentError("A summary tells of a search, and this report knows of none.")
    found = Template(results.best.text)
    console.print(Group("\nThe best prompt:", Padding(Text(found.text, style="bold"), (1, 2))))
    if comparisons:
        console.print("Accuracy in % on unseen images:", _figures(comparisons), sep="\n")
    else:
        console.print("Accuracy in % on the images of the search itself, which flatter:")
        console.print(_training_figures(results))
    for sentence in gains(comparisons):
        console.print(sentence)
    console.print(report.verdict.value, style="bold")
    console.print()
    console.print(_counts(results))
    console.print(
        f"{results.spent.calls} calls of the prompt model, tokens: {report.tokens}, "
        f"cost: {report.cost}."
    )
    if not results.ended_by.startswith("steps"):
        console.print(f"Ended by the bound on {results.ended_by}.")
    # A wrapped line could not be copied, so lines to copy are left to the terminal.
    programs = [PROGRAM_FILE]
    if results.ensemble is not None:
        programs.append(f"{ENSEMBLE} (the best prompts together)")
    if results.described is not None:
        programs.append(f"{CLASS_TEXTS} (the best prompt with texts for each class)")
    files = ", ".join([*programs, REPORT_FILE, JOURNAL_FILE])
    console.print(f"\nIn {run_folder}: {files}", soft_wrap=True)
    console.print("\nIn Python:\n")
    for line in usage(run_folder / PROGRAM_FILE, picture):
        console.print(f"  {line}", soft_wrap=True)
    console.print("\nIn open_clip, as templates=[...]:\n")
    console.print(f"  {open_clip_form(found)}", soft_wrap=True)


def _figures(comparisons: Sequence[Comparison]) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("prompt", ratio=1)
    for comparison in comparisons:
        table.add_column(comparison.part, justify="right")
    if {comparison.part for comparison in comparisons} >= {"base", "novel"}:
        table.add_column("H", justify="right")
    table.add_column("loss", justify="right")
    for evaluations in sides(comparisons):
        scores = {c.part: e.score for c, e in zip(comparisons, evaluations, strict=True)}
        row = [f"{score.accuracy:.2f}" for score in scores.values()]
        if (h := h_of(scores)) is not None:
            row.append(f"{h:.2f}")
        losses = " / ".join(f"{score.loss:.3f}" for score in scores.values())
        table.add_row(Text(evaluations[0].label), *row, losses)
    return table


def _training_figures(results: IPOResults) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("prompt", ratio=1)
    table.add_column("accuracy", justify="right")
    table.add_column("loss", justify="right")
    for trial in (results.trials[0], results.best):
        if trial.score is not None:
            accuracy, loss = f"{trial.score.accuracy:.2f}", f"{trial.score.loss:.3f}"
            table.add_row(Text(trial.text), accuracy, loss)
    return table


def _counts(results: IPOResults) -> str:
    states = Counter(trial.state for trial in results.trials)
    return (
        f"{len(results.trials)} prompts: {states[State.OK]} ok, {states[State.INVALID]} invalid, "
        f"{states[State.FAILED]} failed."
    )
