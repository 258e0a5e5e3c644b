"""Compare IPO with DSPy's teleprompters and with controls, at the same number of LM calls.

Every optimizer gets the same program, training images, calls and seeds, and a language model of its
own, with --told told about the images as IPO's is. Of what it tried, the template with the best
training accuracy is judged on unseen images of base and novel classes, and so are the best five
together. Writes teleprompters_BUDGET.json, .md and .svg; the names of the files say what differs
from the demo with one shot.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from os import devnull
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten

from rich.console import Console

from benchmarks import second_world
from benchmarks.judging import Judge
from benchmarks.provenance import RESULTS
from benchmarks.teleprompters.contest import Arena, Outcome
from benchmarks.teleprompters.contestants import TELEPROMPTERS
from benchmarks.teleprompters.controls import CONTROLS, FIXED_TEXTS
from benchmarks.teleprompters.outcomes import DEMO, Outcomes, write_json
from benchmarks.teleprompters.plot import plot
from benchmarks.teleprompters.table import markdown
from ipo_dspy import LMDescriber, load_encoder
from ipo_dspy.datasets.task import benchmark_tasks
from ipo_dspy.demo.task import demo_task
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.task import MakeTask, Task
from ipo_dspy.proposing.models import language_model, vision_model

_SHOWN_CHARACTERS = 80


def main() -> None:
    """Run the contest that the options ask for."""
    options = _options().parse_args()
    if options.data == second_world.NAME:
        options.clip = second_world.NAME
    names = options.only or [*FIXED_TEXTS, *CONTROLS, *TELEPROMPTERS]
    console = Console(file=sys.stderr)
    with TemporaryDirectory() as folder:
        make_task = _tasks(options, Path(folder))
        is_second = options.data == second_world.NAME
        encoder = second_world.load_second_encoder() if is_second else load_encoder(options.clip)
        embedder = Embedder(encoder)
        outcomes: Outcomes = defaultdict(list)
        for seed in options.seeds:
            arena = _arena(make_task(seed), embedder, options)
            for name in names:
                outcome = _quietly(_entry(arena, name))
                outcomes[name].append(outcome)
                _say(
                    console,
                    f"seed {seed}  {name:24}  H {outcome.verdict.accuracies[2]:5.1f}, "
                    f"five {outcome.ensemble.accuracies[2]:5.1f}  "
                    f"{outcome.calls} calls  {outcome.seconds:.1f} s  "
                    f"{shorten(outcome.text, _SHOWN_CHARACTERS)}",
                )
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / _stem(options)
    written = write_json(stem.with_suffix(".json"), outcomes, options)
    text = markdown(outcomes, written)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    plot(outcomes, stem.with_suffix(".svg"))
    _say(Console(), text)


def _tasks(options: argparse.Namespace, folder: Path) -> MakeTask:
    if options.data == DEMO:
        return partial(demo_task, folder, shots=options.shots)
    if options.data == second_world.NAME:
        return partial(second_world.second_task, folder, shots=options.shots)
    return benchmark_tasks(options.data, options.root, options.shots)


def _stem(options: argparse.Namespace) -> str:
    """The name of the files, which says what differs from the demo with one shot."""
    parts = [f"teleprompters_{options.budget}"]
    parts += [options.data] if options.data != DEMO else []
    parts += [f"{options.shots}_shots"] if options.shots != 1 else []
    return "_".join([*parts, *(["told"] if options.told else [])])


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.teleprompters",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        *("--prompt-model", "--lm"),
        dest="lm",
        metavar="MODEL",
        default="offline",
        help="what proposes, such as openai/...",
    )
    parser.add_argument("--budget", type=int, default=20, help="calls of the LM for each optimizer")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--data", default=DEMO, help="'demo', 'second' or a benchmark dataset")
    parser.add_argument("--root", type=Path, default=Path("data"), help="of the datasets")
    parser.add_argument("--shots", type=int, default=1, help="training images per base class")
    parser.add_argument("--clip", default="demo", help="the encoder")
    parser.add_argument(
        "--image-model", help="describes images for IPO; its calls come on top of the budget"
    )
    parser.add_argument(
        "--told", action="store_true", help="tell every optimizer's LM about the images"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="rows of the table")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser


def _arena(task: Task, embedder: Embedder, options: argparse.Namespace) -> Arena:
    return Arena(
        task=task,
        embedder=embedder,
        judge=Judge(task, embedder),
        budget=options.budget,
        # A model of its own for every run: what one keeps of a run does not reach the next.
        make_lm=partial(language_model, options.lm),
        describer=LMDescriber(vision_model(options.image_model)) if options.image_model else None,
        told=options.told,
    )


def _entry(arena: Arena, name: str) -> Callable[[], Outcome]:
    if name in FIXED_TEXTS:
        return lambda: arena.run_fixed(FIXED_TEXTS[name])
    runs = {**CONTROLS, **TELEPROMPTERS}
    if name not in runs:
        known = ", ".join([*FIXED_TEXTS, *runs])
        raise SystemExit(f"There is no optimizer {name!r} to compare; choose from: {known}.")
    return lambda: arena.run(runs[name])


def _quietly(run: Callable[[], Outcome]) -> Outcome:
    """Run without what DSPy's optimizers print and log."""
    logging.disable(logging.WARNING)
    try:
        with open(devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            return run()
    finally:
        logging.disable(logging.NOTSET)


if __name__ == "__main__":
    main()
