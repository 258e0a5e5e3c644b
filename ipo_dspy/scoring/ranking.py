"""The order of trials: accuracy first, then the loss at one scale that fits all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, pstdev

from ipo_dspy.errors import ArgumentError
from ipo_dspy.records import SCALES, Score, Trial

RAW = SCALES.index(1.0)
LOSS_DIGITS = 6
"""Decimals of a loss that count in a ranking: what follows may be the last bits of float32."""


class Ranking:
    """Orders the scored trials of one run: higher accuracy, then the lower fitted loss.

    With few images many prompts have the same accuracy, and the loss decides between them. It is a
    cross-entropy, and says little where the encoder's logits are too small or too large for the
    task. So it is taken at the one of `SCALES` times the logits that gives all trials of the run
    the lowest mean: the order of the classes stays, and all trials share the scale.

    Args:
        fitted: take the loss as the encoder gives it where this is false, as the paper does.
    """

    def __init__(self, *, fitted: bool = True) -> None:
        self._fitted = fitted
        self._sums = [0.0] * len(SCALES)
        self._best = RAW

    @classmethod
    def of(cls, scores: Iterable[Score], *, fitted: bool = True) -> Ranking:
        """Fit the scale to the training scores of a run's trials."""
        ranking = cls(fitted=fitted)
        for score in scores:
            ranking.add(score)
        return ranking

    def add(self, score: Score) -> bool:
        """Take one more training score into the fit; tells whether the scale has changed."""
        if not self._fitted or not score.losses:
            return False
        self._sums = [total + loss for total, loss in zip(self._sums, score.losses, strict=True)]
        before, self._best = self._best, min(range(len(SCALES)), key=self._sums.__getitem__)
        return before != self._best

    @property
    def scale(self) -> float:
        """What the encoder's logits are multiplied by; 1 leaves them as they are."""
        return SCALES[self._best]

    def loss(self, score: Score) -> float:
        """The loss that ranks: at the run's scale where the score knows it, in nats, rounded."""
        fitted = score.losses and self._best != RAW
        return round(score.losses[self._best] if fitted else score.loss, LOSS_DIGITS)

    def order(self, score: Score) -> tuple[float, float]:
        """Sort key of one score, best highest."""
        return (score.accuracy, -self.loss(score))

    def key(self, trial: Trial) -> tuple[float, float, float, float]:
        """Sort key of a trial, best highest: validation where there is one decides before training.

        Raises:
            ArgumentError: the trial has no score.
        """
        if trial.score is None:
            raise ArgumentError(
                f"A trial that is {trial.state.value} has no rank; expected an ok trial."
            )
        return (*self.order(trial.validation or trial.score), *self.order(trial.score))


def by_merit(scores: Sequence[tuple[float, float]]) -> list[int]:
    """Order scores, worst first, by the sum of standardised accuracy and negative loss.

    One score is in part luck: over several, such as those of an ensemble or of parents, the loss
    may count as much as the accuracy.

    Args:
        scores: accuracy and loss of each.

    Returns:
        Their places in `scores`; of equal ones the later comes first.
    """
    accuracies = _standardised([accuracy for accuracy, _ in scores])
    losses = _standardised([loss for _, loss in scores])
    merits = [accuracy - loss for accuracy, loss in zip(accuracies, losses, strict=True)]
    return sorted(reversed(range(len(scores))), key=merits.__getitem__)


def _standardised(values: Sequence[float]) -> list[float]:
    if not values:
        return []
    mean, deviation = fmean(values), pstdev(values)
    return [(value - mean) / deviation if deviation else 0.0 for value in values]
