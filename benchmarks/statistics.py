"""Intervals for differences between methods that were tried on the same seeds and images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.judging import Verdict

RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """A mean difference in H, in points, with its 95 % interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(
    ours: Sequence[Verdict], theirs: Sequence[Verdict], seed: int = 0
) -> Difference:
    """Bootstrap the mean difference in H over seeds, and over images within each seed.

    Both methods are resampled together: a resample has the same seeds and images for both. The
    interval is the percentile interval.

    Args:
        ours: one verdict a seed.
        theirs: verdicts on the same seeds and images, in the same order.
        seed: of the resampling.
    """
    chance = np.random.default_rng(seed)
    per_seed = np.stack(
        [_resampled(one, other, chance) for one, other in zip(ours, theirs, strict=True)]
    )
    chosen = chance.integers(len(per_seed), size=(RESAMPLES, len(per_seed)))
    differences = per_seed[chosen, np.arange(RESAMPLES)[:, None]].mean(axis=1)
    low, high = np.percentile(differences, [2.5, 97.5])
    means = [a.accuracies[2] - b.accuracies[2] for a, b in zip(ours, theirs, strict=True)]
    return Difference(float(np.mean(means)), float(low), float(high))


def _resampled(one: Verdict, other: Verdict, chance: np.random.Generator) -> np.ndarray:
    """Differences in H on resampled images of one seed: [RESAMPLES]."""
    sides = []
    for a, b in ((one.base, other.base), (one.novel, other.novel)):
        # How often each image is drawn; a resample's accuracy is then a matrix product.
        counts = chance.multinomial(len(a), np.full(len(a), 1 / len(a)), size=RESAMPLES)
        sides.append(100 * counts @ np.stack([a, b], axis=1) / len(a))
    base, novel = sides
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.nan_to_num(2 * base * novel / (base + novel))
    difference: np.ndarray = mean[:, 0] - mean[:, 1]
    return difference
