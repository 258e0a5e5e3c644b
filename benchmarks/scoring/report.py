"""How the measurements are shown and kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from rich.table import Table

from benchmarks.provenance import provenance
from benchmarks.scoring.rows import Figure, Row
from benchmarks.scoring.scaling import MOST_EXPONENT, Growth
from benchmarks.scoring.workload import Workload


def result(workload: Workload, rows: list[Row], growths: list[Growth]) -> dict[str, Any]:
    """Put together what goes into the results file."""
    return {
        "provenance": provenance("benchmarks.scoring"),
        "device": torch.cuda.get_device_name() if workload.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "rounds": workload.rounds,
        "rows": [{**asdict(row), "reached": row.reached} for row in rows],
        "growth": [{**asdict(growth), "exponents": growth.exponents} for growth in growths],
    }


def row_table(rows: list[Row]) -> Table:
    """One line per figure."""
    table = Table("what", "against", "figure", "measured", "bound", "reached")
    for row in rows:
        for number, (name, figure) in enumerate(row.figures.items()):
            first = (row.what, row.against) if number == 0 else ("", "")
            value, bound = f"{figure.value:.5g}", _bound(figure)
            table.add_row(*first, name, value, bound, _verdict(figure))
        table.add_section()
    return table


def markdown(rows: list[Row], growths: list[Growth], origin: dict[str, Any]) -> str:
    """Write both tables, and where they come from."""
    changes = " with uncommitted changes" if origin["uncommitted_changes"] else ""
    figures = [
        f"| {row.what} | {row.against} | {name} | {figure.value:.4g} | {_bound(figure)} "
        f"| {_verdict(figure)} |"
        for row in rows
        for name, figure in row.figures.items()
    ]
    exponents = [
        f"| {growth.task} | {size} | {_span(growth, size)} | {exponent:.2f} | {_low(exponent)} |"
        for growth in growths
        for size, exponent in growth.exponents.items()
    ]
    return "\n".join(
        [
            "# Scoring",
            "",
            f"`{origin['command']}`, {origin['date']}, commit {origin['commit']}{changes}, "
            f"{origin['machine']}, torch {origin['versions']['torch']}. Ratios are medians of "
            "rounds measured in turn.",
            "",
            "| what | against | figure | measured | goal | reached |",
            "|---|---|---|---|---|---|",
            *figures,
            "",
            "How cost grows: with the exponent e, twice the size costs 2^e times as much.",
            "",
            f"| task | size | from, to | exponent | at most {MOST_EXPONENT} |",
            "|---|---|---|---|---|",
            *exponents,
            "",
        ]
    )


def _verdict(figure: Figure) -> str:
    if figure.at_least is None and figure.at_most is None:
        return ""
    return "yes" if figure.reached else "no"


def _bound(figure: Figure) -> str:
    if figure.at_least is not None:
        return f"at least {figure.at_least:g}"
    return "" if figure.at_most is None else f"at most {figure.at_most:g}"


def _span(growth: Growth, size: str) -> str:
    sizes = [cost.sizes[size] for cost in growth.costs]
    return f"{min(sizes):,} to {max(sizes):,}"


def _low(exponent: float) -> str:
    return "yes" if exponent <= MOST_EXPONENT else "no"


def growth_table(growths: list[Growth]) -> Table:
    """One line per size that a task has, with the exponent of its cost."""
    table = Table("task", "size", "from, to", "exponent", f"at most {MOST_EXPONENT}")
    for growth in growths:
        for number, (name, exponent) in enumerate(growth.exponents.items()):
            task = growth.task if number == 0 else ""
            table.add_row(task, name, _span(growth, name), f"{exponent:.2f}", _low(exponent))
        table.add_section()
    return table
