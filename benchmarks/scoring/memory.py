"""How much memory does scoring take, beside the features of the images?"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.scoring.given import given_scorer
from benchmarks.scoring.rows import Figure, Row
from benchmarks.scoring.workload import Workload

IMAGES = 50_000
CLASSES = 1000
TEMPLATES = 64
_KIBIBYTE, _GIBIBYTE = 2**10, 2**30
_PROCESS = Path("/proc/self")


def measure_memory(_: Workload) -> list[Row]:
    """Score in a process of its own, and look at its memory as Linux tells it."""
    command = [sys.executable, "-m", __name__]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return [
        Row(
            what=f"memory for {TEMPLATES} templates, {CLASSES:,} classes, {IMAGES:,} images",
            against="memory with the features of the images",
            figures={"GiB more at most": Figure(found["bytes"] / _GIBIBYTE, at_most=1)},
            seconds={"scoring": found["seconds"]},
        )
    ]


def main() -> None:
    """Print how many bytes scoring takes at its peak, and how many seconds."""
    scorer = given_scorer(IMAGES, CLASSES)
    before = _bytes("VmRSS")
    (_PROCESS / "clear_refs").write_text("5")  # The peak counts from here.
    start = time.perf_counter()
    scorer.score([f"photo {number} of a <CLASS>" for number in range(TEMPLATES)])
    seconds = time.perf_counter() - start
    print(json.dumps({"bytes": _bytes("VmHWM") - before, "seconds": seconds}))


def _bytes(name: str) -> int:
    lines = (_PROCESS / "status").read_text().splitlines()
    [size] = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
    return int(size) * _KIBIBYTE


if __name__ == "__main__":
    main()
