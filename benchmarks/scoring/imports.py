"""What importing the package costs someone who imports DSPy anyway."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.scoring.rows import Figure, Row
from benchmarks.scoring.timing import alternate
from benchmarks.scoring.workload import Workload


def measure_import(workload: Workload) -> list[Row]:
    """Import both in fresh processes."""

    def importing(module: str) -> None:
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    for module in ("dspy", "ipo_dspy"):
        importing(module)  # Once, for the files to be in memory.
    seconds = alternate(
        {"dspy": lambda: importing("dspy"), "ipo_dspy": lambda: importing("ipo_dspy")},
        rounds=3 * workload.rounds,
    )
    times = Figure(seconds["ipo_dspy"] / seconds["dspy"], at_most=1.05)
    return [Row("import ipo_dspy", "import dspy", {"times as long": times}, seconds)]
