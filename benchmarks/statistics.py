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
    ours: Sequence[Verdict],
    theirs: Sequence[Verdict],
    *,
    same_images: bool,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """Bootstrap the mean difference in H over seeds and images, both methods paired.

    Where every seed has test images of its own, seeds alone are drawn again: their images go with
    them, and drawing those again would count their chance twice. Where all seeds are tested on
    the same images, one draw of images is crossed with one of seeds (Owen, 2007). The interval is
    the percentile interval.

    Args:
        ours: one verdict a seed.
        theirs: verdicts on the same seeds and images, in the same order.
        same_images: whether all seeds share their test images.
        resamples: how many times to draw.
        seed: of the drawing.
    """
    chance = np.random.default_rng(seed)
    pairs = list(zip(ours, theirs, strict=True))
    observed = np.array([a.accuracies[2] - b.accuracies[2] for a, b in pairs])
    per_seed = np.tile(observed, (resamples, 1))
    if same_images:
        per_seed = np.stack([_on_drawn_images(pairs, chance) for _ in range(resamples)])
    chosen = chance.integers(len(pairs), size=(resamples, len(pairs)))
    means = np.take_along_axis(per_seed, chosen, axis=1).mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return Difference(float(observed.mean()), float(low), float(high))


def _on_drawn_images(
    pairs: Sequence[tuple[Verdict, Verdict]], chance: np.random.Generator
) -> np.ndarray:
    """Differences in H of all seeds on one draw of their common images: [seeds]."""
    base, novel = (
        chance.integers(len(hits), size=len(hits)) for hits in (pairs[0][0].base, pairs[0][0].novel)
    )
    drawn = (
        (Verdict(a.base[base], a.novel[novel]), Verdict(b.base[base], b.novel[novel]))
        for a, b in pairs
    )
    return np.array([a.accuracies[2] - b.accuracies[2] for a, b in drawn])
