"""How the measurements are shown and kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from rich.table import Table

from benchmarks.provenance import provenance
from benchmarks.scoring.rows import Figure, Row
from benchmarks.scoring.scaling import Growth
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
            bound = _bound(figure)
            reached = ("yes" if figure.reached else "no") if bound else ""
            table.add_row(*first, name, f"{figure.value:.5g}", bound, reached)
        table.add_section()
    return table


def _bound(figure: Figure) -> str:
    if figure.at_least is not None:
        return f"at least {figure.at_least:g}"
    return "" if figure.at_most is None else f"at most {figure.at_most:g}"


def growth_table(growths: list[Growth]) -> Table:
    """One line per size that a task has, with the exponent of its cost."""
    table = Table("task", "size", "from", "to", "exponent")
    for growth in growths:
        for number, (name, exponent) in enumerate(growth.exponents.items()):
            sizes = [cost.sizes[name] for cost in growth.costs]
            task = growth.task if number == 0 else ""
            table.add_row(task, name, str(min(sizes)), str(max(sizes)), f"{exponent:.2f}")
        table.add_section()
    return table
