"""CLIP, IPO and gradient learners on base and novel classes, beside the poster's figures.

python -m benchmarks.base_to_novel --root DATA --clip open_clip:ViT-B-16-quickgelu/openai
--prompt-model openai/gpt-4o-mini --image-model hf:openbmb/MiniCPM-V-4.6 --shots 1 --seeds 1 2 3

--methods CLIP CoOp CoCoOp MaPLe PromptSRC CoPrompt IPO adds the poster's other rows, trained with
their authors' settings; CuPL, DCLIP and WaffleCLIP those with texts for each class, and
--class-texts 5 IPO's best prompt with such. Runs over the datasets that are complete in DATA, or
with --demo over the demo world. Every search and training has a folder of its own: a stopped
command goes on where it was, and nothing is asked twice. Writes base_to_novel.json and .md, anew
after each seed.

--backend ray [--address ...] does one task for each method, data set and seed, side by side; its
machines need the data and the folder --runs at the same path. The figures are the same. A task that
fails is a row that says why; the command then exits with 1.

--source ImageNet --targets Caltech101 ImageNetV2 ... trains on all classes of one data set and
tests on others, in the demo on media; writes transfer_SOURCE.json and .md.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from functools import partial

from cyclopts import App
from rich.console import Console

from benchmarks.base_to_novel.datasets import find_datasets
from benchmarks.base_to_novel.described import DESCRIBED
from benchmarks.base_to_novel.learning import CLIP, IPO, LEARNERS, check_methods
from benchmarks.base_to_novel.options import BenchmarkOptions
from benchmarks.base_to_novel.outcomes import write_json, write_text
from benchmarks.base_to_novel.published_counts import EXACT, check_counts
from benchmarks.base_to_novel.results import (
    HAND_WRITTEN,
    DatasetOutcome,
    SeedOutcome,
    as_json,
)
from benchmarks.base_to_novel.table import markdown
from benchmarks.base_to_novel.tasks import Key, Tasks
from benchmarks.base_to_novel.transfer import transfer
from benchmarks.provenance import provenance
from benchmarks.sweep import Sweep
from ipo_dspy import __version__
from ipo_dspy.terminal.command import run_app
from ipo_dspy.terminal.options import Flag
from ipo_dspy.terminal.output import remark

COMMAND = "benchmarks.base_to_novel"


def base_to_novel(
    *,
    run: BenchmarkOptions = BenchmarkOptions(),  # noqa: B008 - frozen
    published_counts: Flag = False,
) -> None:
    """Search and test on every data set, and write the table.

    Args:
        run: everything that decides the figures.
        published_counts: compare CLIP's counts with the published ones whatever the encoder is
            called; for OpenAI's ViT-B/16 under another name or in a file of your own.
    """
    if run.transfer.source is not None or run.transfer.targets:
        Console().print(transfer(run), markup=False, highlight=False, soft_wrap=True)
        return
    methods = check_methods(run.compared.methods)
    datasets = find_datasets(run.data, run.files.runs)
    # The search comes first: a model that cannot be used is found out within seconds.
    order = (IPO, CLIP, *DESCRIBED, *LEARNERS)
    rows = [name for name in order if name in methods or name == CLIP]
    tasks = Tasks(run)
    tasks.load(methods)
    sweep: Sweep[Key] = Sweep(run.encoder)
    sweep.spread(
        Tasks(run.elsewhere),
        [
            (row, dataset.name, seed)
            for dataset in datasets
            for seed in run.data.seeds
            for row in rows
            # Texts are asked for once, for all seeds of a data set.
            if row not in DESCRIBED
        ],
    )
    done: list[DatasetOutcome] = []
    for dataset in datasets:
        outcomes: list[SeedOutcome] = []
        for seed in run.data.seeds:
            remark(f"{dataset.name}, seed {seed}")
            found = {
                row: sweep.attempt(key, partial(tasks, key))
                for row in rows
                for key in [(row, dataset.name, seed)]
            }
            outcomes.append(SeedOutcome.of(seed, found))
            counts = check_counts(
                dataset.benchmark,
                outcomes[0].fixed.get(HAND_WRITTEN),
                run.encoder.clip,
                precision=run.encoder.precision or EXACT,
                always=published_counts,
            )
            current = [*done, DatasetOutcome(dataset, outcomes, counts)]
            complete = len(current) == len(datasets) and len(outcomes) == len(run.data.seeds)
            text = _write(run, current, complete and not sweep.problems, sweep.problems)
        remark(f"{dataset.name}, CLIP's counts: {counts.state} ({counts.sentence})")
        done = current
    Console().print(text, markup=False, highlight=False, soft_wrap=True)
    if sweep.problems:
        sys.exit(1)


def _write(
    run: BenchmarkOptions,
    outcomes: Sequence[DatasetOutcome],
    complete: bool,
    problems: Mapping[Key, str],
) -> str:
    written = {
        "provenance": provenance(COMMAND),
        "settings": run.settings,
        "complete": complete,
        "failed": [
            {"method": row, "dataset": name, "seed": seed, "why": why}
            for (row, name, seed), why in sorted(problems.items())
        ],
        **as_json(outcomes),
    }
    write_json(run.file("base_to_novel", ".json"), written)
    text = markdown(outcomes, written)
    write_text(run.file("base_to_novel", ".md"), text)
    return text


app = App(
    name=f"python -m {COMMAND}",
    help=__doc__,
    version=__version__,
    default_command=base_to_novel,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; exits with 1 after an error.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    run_app(app, COMMAND, arguments)


if __name__ == "__main__":
    main()
