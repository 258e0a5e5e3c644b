"""The results as Markdown, which a terminal shows as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.base_to_novel.learning import Learned
from benchmarks.base_to_novel.outcomes import Found
from benchmarks.base_to_novel.results import (
    OUTLIER,
    DatasetOutcome,
    averages,
    poster_figures,
)
from benchmarks.figures import NONE, Row, aligned, parallel
from benchmarks.poster import POSTER


def markdown(outcomes: Sequence[DatasetOutcome], written: Mapping[str, Any]) -> str:
    """Write all tables.

    Args:
        outcomes: of the data sets, at least one.
        written: what the results file holds.
    """
    lines = ["# Base to novel", "", origin(written, _made(outcomes)), ""]
    if written.get("failed"):
        lines += ["## What failed", "", *_failed(written["failed"]), ""]
    if len(outcomes) > 1:
        lines += ["## Averages", "", *_averages(outcomes), ""]
    lines += ["## By data set", "", *_by_dataset(outcomes), ""]
    if any(seed.learned for outcome in outcomes for seed in outcome.seeds):
        lines += ["## What was trained", "", *_trained(outcomes), ""]
        lines += ["## Learned vectors in words", "", *_words(outcomes), ""]
    lines += ["## Prompts", "", *_prompts(outcomes), ""]
    lines += ["## CLIP's counts with the hand-written template", "", *_counts(outcomes), ""]
    if any(outcome.dataset.benchmark for outcome in outcomes):
        lines += ["## The poster's table", "", *_poster(outcomes), ""]
    return "\n".join(lines)


def _failed(failed: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    rows = [
        (one["method"], one["dataset"], str(one["seed"]), " ".join(one["why"].split()))
        for one in failed
    ]
    yield from aligned(("method", "data set", "seed", "why"), rows, left=4)
    yield ""
    yield (
        "A method has no figures on a data set where it failed with a seed, nor in the averages. "
        "The same command tries what failed again."
    )


def _made(outcomes: Sequence[DatasetOutcome]) -> Iterator[Found | Learned]:
    """The searches and trainings."""
    for outcome in outcomes:
        for of_seed in outcome.seeds:
            yield from of_seed.learned.values()
            if of_seed.ipo is not None:
                yield of_seed.ipo


def _trained(outcomes: Sequence[DatasetOutcome]) -> Iterator[str]:
    rows = []
    for outcome in outcomes:
        for method in dict.fromkeys(name for seed in outcome.seeds for name in seed.learned):
            of_seeds = [seed.learned[method] for seed in outcome.seeds if method in seed.learned]
            memory = [each.peak_memory for each in of_seeds if each.peak_memory is not None]
            rows.append(
                [
                    outcome.dataset.name,
                    method,
                    f"{of_seeds[0].parameters:,}",
                    str(of_seeds[0].epochs),
                    f"{fmean(each.seconds for each in of_seeds):.1f}",
                    f"{max(memory):,}" if memory else NONE,
                    f"{fmean(each.accuracy for each in of_seeds):.2f}",
                ]
            )
    headings = ["data set", "method", "parameters", "epochs", "seconds", "MiB", "training %"]
    yield from aligned(headings, rows, left=2)
    yield ""
    yield (
        "Seconds are means over the seeds, MiB the most memory in use (on a CPU that of the whole "
        "process, encoder included), training % the accuracy of the last epoch on changed views."
    )


def _words(outcomes: Sequence[DatasetOutcome]) -> Iterator[str]:
    for outcome in outcomes:
        seed = outcome.seeds[0]
        for method, learned in seed.learned.items():
            yield f"- {outcome.dataset.name}, seed {seed.seed}, {method}:"
            yield from (f"    - {line}" for line in learned.nearest_words.splitlines())
        if seed.ipo is not None:
            yield f"- {outcome.dataset.name}, seed {seed.seed}, IPO: `{seed.ipo.text}`"


def origin(written: Mapping[str, Any], searches: Iterable[Found | Learned]) -> str:
    """Say where results come from, and how to read them.

    Args:
        written: what the results file holds.
        searches: which may have been made earlier, by other code.
    """
    made, settings = written["provenance"], written["settings"]
    changes = " with uncommitted changes" if made["uncommitted_changes"] else ""
    unfinished = "" if written["complete"] else " Not all of it has been run yet."
    earlier = {found.commit for found in searches} - {made["commit"]}
    kept = f" Searches were kept from commit {', '.join(sorted(earlier))}." if earlier else ""
    seeds = ", ".join(map(str, settings["seeds"]))
    return (
        f"`{made['command']}`, {made['date']}, commit {made['commit']}{changes}. Encoder "
        f"`{settings['clip']}`, prompt model `{settings['prompt_model']}`, image model "
        f"`{settings['image_model']}`, {settings['shots']} shot(s), {settings['steps']} steps of "
        f"{settings['prompts_per_step']} prompts, history length {settings['history_size']}; means "
        f"over the seeds {seeds}.{kept}{unfinished}"
    )


def _averages(outcomes: Sequence[DatasetOutcome]) -> Iterator[str]:
    rows = [
        Row((name, row), ours, poster)
        for name, of_average in averages(outcomes).items()
        for row, (ours, poster) in of_average.items()
    ]
    yield from parallel(("average over", "prompt"), rows)
    yield ""
    yield (
        "Base and novel are averaged over the data sets, the poster's over the same ones; H is the "
        "harmonic mean of these averages."
    )
    if any(outcome.dataset.name == OUTLIER for outcome in outcomes):
        yield ""
        yield why_without_outlier()


def why_without_outlier() -> str:
    """Say in one line why averages are also given without one of the data sets."""
    names = [name for name in POSTER.datasets if name != OUTLIER]
    collapsed = {
        method: figures
        for method, figures in POSTER.datasets[OUTLIER].items()
        if figures.h < POSTER.datasets[OUTLIER]["CLIP"].h / 2
    }
    fallen = ", ".join(f"{method} (H {figures.h:.2f})" for method, figures in collapsed.items())
    best = max(collapsed, key=lambda method: POSTER.average(method, names).h)
    return (
        f"Without {OUTLIER}, because there the poster's runs of {fallen} collapsed far below CLIP "
        f"without training, which decides the order of the averages: without it {best} has "
        f"H {POSTER.average(best, names).h:.2f} and IPO {POSTER.average('IPO', names).h:.2f}."
    )


def _by_dataset(outcomes: Sequence[DatasetOutcome]) -> list[str]:
    return parallel(
        ("data set", "prompt"),
        [
            Row((outcome.dataset.name, row), ours, poster_figures(row, outcome.dataset.name))
            for outcome in outcomes
            for row, ours in outcome.rows.items()
        ],
    )


def _prompts(outcomes: Sequence[DatasetOutcome]) -> Iterator[str]:
    for outcome in outcomes:
        name = outcome.dataset.name
        yield f"- {name}, written by hand: `{outcome.dataset.template}`"
        for of_seed in outcome.seeds:
            found = of_seed.ipo
            if found is None:
                continue
            base, novel, h = found.tested.figures.cells
            tokens = "unknown" if found.tokens is None else f"{found.tokens:,}"
            passed = (
                f"; {found.passed_over} better ones are too long with a novel class name"
                if found.passed_over
                else ""
            )
            yield (
                f"- {name}, seed {of_seed.seed}: `{found.text}` (step {found.step}; training "
                f"{found.accuracy:.2f}, base {base}, novel {novel}, H {h}; {found.calls} calls, "
                f"tokens: {tokens}{passed})"
            )
        if name in POSTER.best_prompts:
            yield f"- {name}, the poster's: `{POSTER.best_prompts[name]}`"


def _counts(outcomes: Sequence[DatasetOutcome]) -> list[str]:
    return [f"- {o.dataset.name}: {o.counts.state} ({o.counts.sentence})" for o in outcomes]


def _poster(outcomes: Sequence[DatasetOutcome]) -> Iterator[str]:
    names = [o.dataset.name for o in outcomes if o.dataset.name in POSTER.datasets]
    methods = list(POSTER.averages)
    averaged = [" / ".join(POSTER.average(method, names).cells) for method in methods]
    by_dataset = [[name, *(_cell(name, method) for method in methods)] for name in names]
    yield from aligned(["data set", *methods], [["average", *averaged], *by_dataset])
    yield ""
    yield (
        f"Base / novel / H. {POSTER.source.partition('. ')[0]}. H is worked out anew; where the "
        "printed one is another, it stands in brackets."
    )


def _cell(dataset: str, method: str) -> str:
    figures = POSTER.of(method, dataset)
    return " / ".join(figures.cells) if figures else NONE
