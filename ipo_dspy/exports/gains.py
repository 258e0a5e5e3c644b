"""Figures in words: what a found prompt gains, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Sequence

from ipo_dspy.scoring.comparison import Comparison

_CHANCE = 0.05


def gains(comparisons: Sequence[Comparison]) -> list[str]:
    """Say of each part what was gained or lost, and whether chance may explain it."""
    sentences = map(_sentence, comparisons)
    return [sentence[0].upper() + sentence[1:] for sentence in sentences]


def _sentence(comparison: Comparison) -> str:
    before, after = comparison.before, comparison.after
    n = len(after.hits)
    figures = f"{before.score.accuracy:.1f} % before, {after.score.accuracy:.1f} % after"
    if before.text == after.text:
        return f"{comparison.part}: no prompt was better than the first ({figures}, {n} images)."
    low, high = comparison.interval
    reach = f"95 % interval {low:+.1f} to {high:+.1f} points"
    if comparison.p_value >= _CHANCE:
        return (
            f"{comparison.part}: not to be told apart from the first prompt on {n} images "
            f"({figures}; {reach}). More images would tell."
        )
    how = "better" if comparison.gain > 0 else "worse"
    return (
        f"{comparison.part}: {how} than the first prompt by {abs(comparison.gain):.1f} points on "
        f"{n} images ({figures}; {reach}); chance alone would do so {_odds(comparison.p_value)}."
    )


def _odds(p_value: float) -> str:
    if p_value < 1e-6:
        return "less than once in a million"
    return f"once in {round(1 / p_value):,}"
