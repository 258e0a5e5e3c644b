"""Compare IPO with DSPy's teleprompters and with controls, at the same number of LM calls.

Every optimizer gets the same program, training images, calls and seeds, and a language model of its
own, with --told told about the images as IPO's is. Of what it tried, the template with the best
training accuracy is judged on unseen images of base and novel classes, and so are the best five
together. Writes teleprompters_BUDGET.json, .md and .svg; the names of the files say what differs
from the demo with one shot.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import shorten

from rich.console import Console

from benchmarks import second_world
from benchmarks.provenance import RESULTS
from benchmarks.sweep import Sweep
from benchmarks.teleprompters.entries import Entries, Key, check_names
from benchmarks.teleprompters.outcomes import DEMO, Outcomes, write_json
from benchmarks.teleprompters.plot import plot
from benchmarks.teleprompters.table import markdown
from ipo_dspy.terminal.command import as_command
from ipo_dspy.terminal.options import LOCAL, EncoderOptions

COMMAND = "benchmarks.teleprompters"
_SHOWN_CHARACTERS = 80


def main() -> None:
    """Run the contest that the options ask for."""
    with as_command(COMMAND):
        _contest(_options().parse_args())


def _contest(options: argparse.Namespace) -> None:
    if options.data == second_world.NAME:
        options.clip = second_world.NAME
    names = check_names(options.only)
    where = EncoderOptions(backend=options.backend, address=options.address)
    if where.backend != LOCAL:
        options.runs = options.runs or Path("runs/teleprompters")
    if options.runs is not None:
        options.runs, options.root = options.runs.absolute(), options.root.absolute()
    console = Console(file=sys.stderr)
    outcomes: Outcomes = defaultdict(list)
    sweep: Sweep[Key] = Sweep(where)
    with TemporaryDirectory() as folder:
        pictures = Path(folder) if options.runs is None else options.runs / "pictures"
        entries = Entries(options, pictures)
        sweep.spread(entries, [(name, seed) for seed in options.seeds for name in names])
        for seed in options.seeds:
            for name in names:
                outcome = sweep.attempt((name, seed), partial(entries, (name, seed)))
                if outcome is None:
                    continue
                outcomes[name].append(outcome)
                _say(
                    console,
                    f"seed {seed}  {name:24}  H {outcome.verdict.accuracies[2]:5.1f}, "
                    f"five {outcome.ensemble.accuracies[2]:5.1f}  "
                    f"{outcome.calls} calls  {outcome.seconds:.1f} s  "
                    f"{shorten(outcome.text, _SHOWN_CHARACTERS)}",
                )
    # Seeds are compared in pairs, so who lacks one is left out.
    whole = {name: of for name, of in outcomes.items() if len(of) == len(options.seeds)}
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / _stem(options)
    written = write_json(stem.with_suffix(".json"), whole, options, sweep.problems)
    text = markdown(whole, written)
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    plot(whole, stem.with_suffix(".svg"))
    _say(Console(), text)
    if sweep.problems:
        sys.exit(1)


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
    parser.add_argument(
        "--backend", default=LOCAL, help="'ray' runs one task for each optimizer and seed"
    )
    parser.add_argument("--address", help="of a Ray cluster; by default one on this machine")
    parser.add_argument(
        "--runs",
        type=Path,
        help="folder to keep each run in, so that the same command and commit goes on where it was "
        "stopped; with Ray runs/teleprompters by default",
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    return parser


if __name__ == "__main__":
    main()
