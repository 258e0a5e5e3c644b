"""Runs the variants of an ablation, and writes them beside the poster's figures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from benchmarks.ablations.variants import Variant
from benchmarks.base_to_novel.bench import Bench, load_embedder, make_method
from benchmarks.base_to_novel.datasets import Dataset, find_datasets
from benchmarks.base_to_novel.learning import IPO
from benchmarks.base_to_novel.options import BenchmarkOptions
from benchmarks.base_to_novel.outcomes import Found, write_json, write_text
from benchmarks.base_to_novel.table import origin
from benchmarks.base_to_novel.tasks import Key, tasks_of
from benchmarks.figures import NONE, Figures, Row, average, parallel
from benchmarks.provenance import provenance
from benchmarks.sweep import Sweep
from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.terminal.output import remark

COMMAND = "benchmarks.ablations"


@dataclass
class VariantOutcome:
    """What came out for one variant so far, by data set, a search for each seed."""

    variant: Variant
    found: dict[str, list[Found]] = field(default_factory=dict)
    problem: str = ""

    @property
    def by_dataset(self) -> dict[str, Figures]:
        """The figures of each data set, averaged over seeds."""
        return {
            name: average(of_seed.tested.figures for of_seed in found)
            for name, found in self.found.items()
        }

    @property
    def figures(self) -> Figures | None:
        """Averages over the data sets; None where a model could not be used."""
        return average(self.by_dataset.values()) if self.found and not self.problem else None


@dataclass(frozen=True)
class Searches:
    """Does the search of a variant, a data set and a seed; pickles as options."""

    options: Mapping[str, BenchmarkOptions]

    def __call__(self, key: Key) -> None:
        """Search, and keep what is found."""
        value, dataset, seed = key
        tasks_of(self.options[value])((IPO, dataset, seed))


@dataclass(frozen=True)
class Ablation:
    """One ablation.

    Attributes:
        name: of the results files.
        title: of the table.
        headings: of a variant's name and of its value.
        varied: the setting that variants differ in.
        make: its variants.
    """

    name: str
    title: str
    headings: tuple[str, str]
    varied: str
    make: Callable[[BenchmarkOptions], list[Variant]]

    def run(self, run: BenchmarkOptions) -> None:
        """Search with every variant, and write JSON and Markdown anew after each search.

        A variant whose model cannot be used is left without figures; the others go on, and the
        command exits with 1.
        """
        variants = self.make(run)
        datasets = find_datasets(run.data, run.files.runs)
        bench = Bench(load_embedder(run.encoder), run.files.runs)
        outcomes = [VariantOutcome(variant) for variant in variants]
        sweep: Sweep[Key] = Sweep(run.encoder)
        sweep.spread(
            Searches({variant.value: variant.options.elsewhere for variant in variants}),
            [
                (variant.value, dataset.name, seed)
                for variant in variants
                for dataset in datasets
                for seed in variant.options.data.seeds
            ],
        )
        for outcome in outcomes:
            remark(f"{outcome.variant.name}: {outcome.variant.value}")
            try:
                self._search(
                    outcome, bench, datasets, sweep.problems, lambda: self._write(run, outcomes)
                )
            except SearchStoppedError as error:
                outcome.problem = str(error)
                remark(outcome.problem)
        text = self._write(run, outcomes, complete=not any(o.problem for o in outcomes))
        Console().print(text, markup=False, highlight=False, soft_wrap=True)
        if any(outcome.problem for outcome in outcomes):
            sys.exit(1)

    def _search(
        self,
        outcome: VariantOutcome,
        bench: Bench,
        datasets: Sequence[Dataset],
        problems: Mapping[Key, str],
        keep: Callable[[], object],
    ) -> None:
        options = outcome.variant.options
        method = make_method(options)
        for dataset in datasets:
            make_task = dataset.open()
            for seed in options.data.seeds:
                remark(f"{dataset.name}, seed {seed}")
                if problem := problems.get((outcome.variant.value, dataset.name, seed)):
                    raise SearchStoppedError(problem)
                found = bench.search(make_task(seed), method)
                outcome.found.setdefault(dataset.name, []).append(found)
                keep()

    def _write(
        self,
        run: BenchmarkOptions,
        outcomes: Sequence[VariantOutcome],
        complete: bool = False,
    ) -> str:
        written = {
            "provenance": provenance(COMMAND),
            "settings": {**run.settings, self.varied: "varied"},
            "complete": complete,
            "rows": [_row_json(outcome) for outcome in outcomes],
        }
        write_json(run.file(f"ablation_{self.name}", ".json"), written)
        text = self._markdown(outcomes, written)
        write_text(run.file(f"ablation_{self.name}", ".md"), text)
        return text

    def _markdown(self, outcomes: Sequence[VariantOutcome], written: Mapping[str, Any]) -> str:
        names = dict.fromkeys(name for outcome in outcomes for name in outcome.found)
        rows = [
            Row((o.variant.name, o.variant.value), o.figures, o.variant.poster) for o in outcomes
        ]
        problems = [f"- {o.variant.value}: {o.problem}" for o in outcomes if o.problem]
        return "\n".join(
            [
                f"# {self.title}",
                "",
                origin(written, (f for o in outcomes for found in o.found.values() for f in found)),
                "",
                *parallel(self.headings, rows),
                "",
                f"Means over {', '.join(names) or NONE}; the poster's over its eleven data sets. H "
                "is the harmonic mean of the averages.",
                "",
                *problems,
            ]
        )


def _row_json(outcome: VariantOutcome) -> dict[str, Any]:
    figures, poster = outcome.figures, outcome.variant.poster
    return {
        "name": outcome.variant.name,
        "value": outcome.variant.value,
        "figures": figures and figures.rounded(),
        "poster": poster and poster.rounded(),
        "problem": outcome.problem,
        "datasets": {
            name: {
                **of_dataset.rounded(),
                "prompts": [found.text for found in outcome.found[name]],
            }
            for name, of_dataset in outcome.by_dataset.items()
        },
    }
