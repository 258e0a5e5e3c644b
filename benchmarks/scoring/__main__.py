"""Measure, print a table, and write `benchmarks/results/scoring.json` and `.md`.

Everything is timed side by side, in turn, and as medians. With `--only`, nothing is written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from time import monotonic

import torch
from rich.console import Console

from benchmarks.provenance import RESULTS, write_result
from benchmarks.scoring.evaluations import measure_evaluation
from benchmarks.scoring.imports import measure_import
from benchmarks.scoring.memory import measure_memory
from benchmarks.scoring.photographs import measure_photographs
from benchmarks.scoring.report import growth_table, markdown, result, row_table
from benchmarks.scoring.rows import Row
from benchmarks.scoring.scaling import Growth, measure_growth
from benchmarks.scoring.searching import measure_searching
from benchmarks.scoring.storing import measure_storing
from benchmarks.scoring.texts import measure_classifier, measure_features, measure_passes
from benchmarks.scoring.waiting import measure_waiting
from benchmarks.scoring.workload import Workload

MEASUREMENTS: dict[str, Callable[[Workload], list[Row]]] = {
    "features": measure_features,
    "classifier": measure_classifier,
    "passes": measure_passes,
    "photographs": measure_photographs,
    "import": measure_import,
    "evaluation": measure_evaluation,
    "memory": measure_memory,
    "waiting": measure_waiting,
}
GROWTHS: dict[str, Callable[[Workload], list[Growth]]] = {
    "growth": measure_growth,
    "storing": measure_storing,
    "searching": measure_searching,
}


def main() -> None:
    """Measure what was asked for."""
    names = (*MEASUREMENTS, *GROWTHS)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scoring", description=__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=Workload.rounds)
    parser.add_argument("--only", nargs="+", choices=names)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("this machine offers torch no CUDA device")
    chosen = options.only or names
    workload = Workload(options.device, options.rounds)

    rows: list[Row] = []
    growths: list[Growth] = []
    for name in names:
        if name in chosen:
            began = monotonic()
            if name in MEASUREMENTS:
                rows += MEASUREMENTS[name](workload)
            else:
                growths += GROWTHS[name](workload)
            print(f"{name}: {monotonic() - began:.0f} s", file=sys.stderr)

    console = Console()
    if rows:
        console.print(row_table(rows))
    if growths:
        console.print(growth_table(growths))
    if not options.only:
        content = result(workload, rows, growths)
        file = RESULTS / ("scoring" if options.device == "cpu" else "scoring_cuda")
        file.parent.mkdir(exist_ok=True)
        write_result(file, content, markdown(rows, growths, content["provenance"]))


if __name__ == "__main__":
    main()
