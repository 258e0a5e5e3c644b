"""The outcomes of all data sets and seeds: rows, averages, and the results file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeAlias

from benchmarks.base_to_novel.datasets import Dataset
from benchmarks.base_to_novel.described import DESCRIBED
from benchmarks.base_to_novel.learning import CLIP, IPO, LEARNERS, Learned
from benchmarks.base_to_novel.outcomes import Counted, Found
from benchmarks.base_to_novel.published_counts import CountCheck
from benchmarks.figures import Figures, average
from benchmarks.poster import POSTER

HAND_WRITTEN = "CLIP, hand-written template"
GENERIC = "CLIP, generic template"
ENSEMBLE = "CLIP, 80-template ensemble"
POSTER_PROMPT = "CLIP, the poster's prompt"
WITH_TEXTS = "IPO, with class texts"
ROWS = (
    HAND_WRITTEN,
    GENERIC,
    ENSEMBLE,
    POSTER_PROMPT,
    *DESCRIBED,
    *LEARNERS,
    IPO,
    WITH_TEXTS,
)
"""The rows of the table, in order."""

OUTLIER = "FGVCAircraft"
"""The data set that averages are also given without."""


Outcome: TypeAlias = Found | Learned | Counted | dict[str, Counted]
"""What comes of a method on a seed of a data set; of prompts that nothing searched, their tests."""


@dataclass(frozen=True)
class SeedOutcome:
    """What came out on one seed of a data set."""

    seed: int
    fixed: Mapping[str, Counted]
    ipo: Found | None = None
    learned: Mapping[str, Learned] = field(default_factory=dict)

    @classmethod
    def of(cls, seed: int, found: Mapping[str, Outcome | None]) -> Self:
        """Put together what came of the methods, by their names; None stands for what failed."""
        fixed, searched = found.get(CLIP), found.get(IPO)
        described = {name: each for name, each in found.items() if isinstance(each, Counted)}
        return cls(
            seed,
            {**(fixed if isinstance(fixed, dict) else {}), **described},
            searched if isinstance(searched, Found) else None,
            {name: each for name, each in found.items() if isinstance(each, Learned)},
        )

    @property
    def tested(self) -> dict[str, Counted]:
        """What was tested, by row."""
        rows = {name: of_method.tested for name, of_method in self.learned.items()}
        searched = {} if self.ipo is None else {IPO: self.ipo.tested}
        if self.ipo is not None and self.ipo.described is not None:
            searched[WITH_TEXTS] = self.ipo.described
        return {**self.fixed, **rows, **searched}


@dataclass(frozen=True)
class DatasetOutcome:
    """What came out on one data set, over its seeds so far."""

    dataset: Dataset
    seeds: Sequence[SeedOutcome]
    counts: CountCheck

    @property
    def rows(self) -> dict[str, Figures]:
        """The figures of each row, averaged over seeds."""
        tests = [outcome.tested for outcome in self.seeds]
        return {
            row: average(of_seed[row].figures for of_seed in tests)
            for row in ROWS
            if all(row in of_seed for of_seed in tests)
        }


def poster_figures(row: str, dataset: str) -> Figures | None:
    """What the poster, or the paper, has for a row of ours."""
    match row:
        case "CLIP, hand-written template":
            return POSTER.of("CLIP", dataset)
        case "CLIP, generic template":
            return POSTER.generic_template.get(dataset)
        case "CLIP, the poster's prompt" | "IPO":
            return POSTER.of("IPO", dataset)
        case _ if row in LEARNERS:
            return POSTER.of(row, dataset)
        case _:
            return None


def averages(
    outcomes: Iterable[DatasetOutcome],
) -> dict[str, dict[str, tuple[Figures, Figures | None]]]:
    """Average every row over the data sets, and once more without the outlier.

    Returns:
        By the name of the average, then by row: ours, and the poster's over the same data sets.
    """
    listed = list(outcomes)
    others = [outcome for outcome in listed if outcome.dataset.name != OUTLIER]
    named = {f"{len(listed)} data sets": listed}
    if 0 < len(others) < len(listed):
        named[f"without {OUTLIER}"] = others
    return {name: _average(of_average) for name, of_average in named.items()}


def _average(outcomes: Sequence[DatasetOutcome]) -> dict[str, tuple[Figures, Figures | None]]:
    result = {}
    for row in ROWS:
        ours = [outcome.rows.get(row) for outcome in outcomes]
        theirs = [poster_figures(row, outcome.dataset.name) for outcome in outcomes]
        if known := _all(ours):
            printed = _all(theirs)
            result[row] = average(known), average(printed) if printed else None
    return result


def _all(figures: Sequence[Figures | None]) -> list[Figures]:
    """All of them, or none where one is missing: an average over fewer would not compare."""
    known = [one for one in figures if one is not None]
    return known if len(known) == len(figures) else []


def as_json(outcomes: Sequence[DatasetOutcome]) -> dict[str, Any]:
    """Everything for the results file."""
    return {
        "averages": {
            name: {
                row: {**ours.rounded(), "poster": poster and poster.rounded()}
                for row, (ours, poster) in of_average.items()
            }
            for name, of_average in averages(outcomes).items()
        },
        "datasets": {outcome.dataset.name: _dataset_json(outcome) for outcome in outcomes},
    }


def _dataset_json(outcome: DatasetOutcome) -> dict[str, Any]:
    name = outcome.dataset.name
    rows = {}
    for row, figures in outcome.rows.items():
        poster = poster_figures(row, name)
        rows[row] = {**figures.rounded(), "poster": poster and poster.rounded()}
    return {
        "hand_written_template": outcome.dataset.template.text,
        "rows": rows,
        "published_counts": asdict(outcome.counts),
        "posters_prompt": POSTER.best_prompts.get(name),
        "seeds": [
            {
                "seed": of_seed.seed,
                "fixed": {row: tested.model_dump() for row, tested in of_seed.fixed.items()},
                "learned": {
                    name: learned.model_dump(mode="json")
                    for name, learned in of_seed.learned.items()
                },
                "ipo": of_seed.ipo and of_seed.ipo.model_dump(mode="json", exclude={"curve"}),
            }
            for of_seed in outcome.seeds
        ],
    }
