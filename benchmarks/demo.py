"""What the main job gains on the embedded demo, seed by seed; writes demo.json and demo.md."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from benchmarks.judging import Judge
from benchmarks.provenance import RESULTS, provenance
from ipo_dspy import CLIPClassifier, IPOOptimizer, clip_acc, load_encoder, offline_lm
from ipo_dspy.demo.task import demo_task
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.task import Task
from ipo_dspy.terminal.options import DEFAULT_STEPS

HEADER = """\
| seed | default H | found H | gain | found prompt |
|---|---|---|---|---|"""


def main() -> None:
    """Run the search that `ipo-dspy optimize --seed SEED` runs, for each seed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.demo", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--steps", type=int, default=DEFAULT_STEPS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    embedder = Embedder(load_encoder("demo"))
    with TemporaryDirectory() as folder:
        tasks = (demo_task(Path(folder), seed) for seed in options.seeds)
        rows = [_search(task, embedder, options.steps) for task in tasks]
    origin = provenance("benchmarks.demo")
    options.out.mkdir(parents=True, exist_ok=True)
    content = json.dumps({"provenance": origin, "seeds": rows}, indent=1)
    (options.out / "demo.json").write_text(content + "\n", encoding="utf-8")
    text = _markdown(rows, origin)
    (options.out / "demo.md").write_text(text, encoding="utf-8")
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def _search(task: Task, embedder: Embedder, steps: int) -> dict[str, Any]:
    program = CLIPClassifier(task.train.classnames, embedder, task.template)
    program.data = task.train
    optimizer = IPOOptimizer(
        metric=clip_acc, prompt_model=offline_lm(), steps=steps, seed=task.seed
    )
    found = optimizer.compile(program).template.text
    judge = Judge(task, embedder)
    return {
        "seed": task.seed,
        "default": judge.judge(task.template).accuracies,
        "found": judge.judge(found).accuracies,
        "prompt": found,
    }


def _markdown(rows: list[dict[str, Any]], origin: dict[str, Any]) -> str:
    gains = [row["found"][2] - row["default"][2] for row in rows]
    lines = [
        f"| {row['seed']} | {row['default'][2]:.1f} | {row['found'][2]:.1f} | {gain:+.1f} "
        f"| `{row['prompt']}` |"
        for row, gain in zip(rows, gains, strict=True)
    ]
    default, found = (fmean(row[which][2] for row in rows) for which in ("default", "found"))
    changes = " with uncommitted changes" if origin["uncommitted_changes"] else ""
    return "\n".join(
        [
            "# The demo, seed by seed",
            "",
            "H: harmonic mean of the accuracy on 24 base and 24 novel classes, 10 unseen pictures "
            f"each, in percent. `{origin['command']}`, {origin['date']}, commit "
            f"{origin['commit']}{changes}.",
            "",
            HEADER,
            *lines,
            f"| mean | {default:.1f} | {found:.1f} | {fmean(gains):+.1f} | |",
            "",
        ]
    )


if __name__ == "__main__":
    main()
