"""The outcomes of all optimizers over all seeds, as one JSON file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from types import MappingProxyType
from typing import Any, TypeAlias

from benchmarks import second_world
from benchmarks.judging import Verdict
from benchmarks.provenance import provenance
from benchmarks.statistics import paired_bootstrap
from benchmarks.teleprompters.contest import Outcome

Outcomes: TypeAlias = dict[str, list[Outcome]]
"""By name of the optimizer, one outcome for each seed."""

DEMO = "demo"
"""The name of the data that is drawn."""

REFERENCE = "IPO"
"""What the others are compared with."""


_LEFT_OUT = {"out", "root", "runs", "backend", "address"}
"""Options that decide nothing."""


def write_json(
    file: Path,
    outcomes: Outcomes,
    options: argparse.Namespace,
    problems: Mapping[tuple[str, int], str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Write everything to a file, and give what was written.

    Args:
        file: the file.
        outcomes: of optimizers that came through all seeds.
        options: of the command.
        problems: why others did not, by name and seed.
    """
    # The drawn worlds have new test pictures for every seed; datasets have one test set.
    same_images = options.data not in (DEMO, second_world.NAME)
    settings = {name: value for name, value in vars(options).items() if name not in _LEFT_OUT}
    content = {
        "provenance": provenance("benchmarks.teleprompters"),
        "settings": settings,
        "failed": [
            {"optimizer": name, "seed": seed, "why": why} for (name, seed), why in problems.items()
        ],
        "optimizers": {name: _summary(name, outcomes, same_images) for name in outcomes},
    }
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return content


def _summary(name: str, outcomes: Outcomes, same_images: bool) -> dict[str, Any]:
    ours = outcomes[name]
    base, novel, h = (
        fmean(values) for values in zip(*(o.verdict.accuracies for o in ours), strict=True)
    )
    summary: dict[str, Any] = {
        "base": round(base, 2),
        "novel": round(novel, 2),
        "h": round(h, 2),
        "accuracy_h": round(fmean(o.by_accuracy.accuracies[2] for o in ours), 2),
        "ensemble_h": round(fmean(o.ensemble.accuracies[2] for o in ours), 2),
        "calls": round(fmean(o.calls for o in ours), 1),
        "tokens": round(fmean(o.tokens for o in ours)),
        "tried": round(fmean(o.tried for o in ours), 1),
        "seconds": round(fmean(o.seconds for o in ours), 2),
        "seeds": [_one(outcome) for outcome in ours],
    }
    if REFERENCE in outcomes and name != REFERENCE:
        theirs = outcomes[REFERENCE]
        for key, reference, this in (
            ("reference_minus_this", [o.verdict for o in theirs], [o.verdict for o in ours]),
            ("choices_differ", [o.verdict for o in theirs], [o.by_accuracy for o in ours]),
            ("ensembles_differ", [o.ensemble for o in theirs], [o.ensemble for o in ours]),
        ):
            summary[key] = _difference(reference, this, same_images)
    return summary


def _difference(
    reference: Sequence[Verdict], this: Sequence[Verdict], same_images: bool
) -> dict[str, float]:
    found = paired_bootstrap(reference, this, same_images=same_images)
    return {name: round(getattr(found, name), 2) for name in ("mean", "low", "high")}


def _one(outcome: Outcome) -> Mapping[str, Any]:
    base, novel, h = outcome.verdict.accuracies
    return {
        "text": outcome.text,
        "train": round(outcome.train, 2),
        "base": round(base, 2),
        "novel": round(novel, 2),
        "h": round(h, 2),
        "accuracy_h": round(outcome.by_accuracy.accuracies[2], 2),
        "ensemble_h": round(outcome.ensemble.accuracies[2], 2),
        "returned_h": None if outcome.returned is None else round(outcome.returned, 2),
        "calls": outcome.calls,
        "tried": outcome.tried,
        "h_after_calls": [round(value, 2) for value in outcome.best_so_far],
    }
