"""The order of trials: accuracy as far as it is no luck, then the loss at one fitted scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, pstdev

from ipo_dspy.errors import ArgumentError
from ipo_dspy.records import SCALES, Score, Trial

RAW = SCALES.index(1.0)
LOSS_DIGITS = 6
"""Decimals of a loss that count in a ranking: what follows may be the last bits of float32."""


class Ranking:
    """Orders the scored trials of one run: higher accuracy, then the lower fitted loss.

    The highest of many accuracies on few images is in good part luck. So accuracies within one
    standard error of the highest count as equal (the one-standard-error rule of Breiman et al.,
    Classification and Regression Trees, 1984), and the loss decides between them. It is a
    cross-entropy, and says little where the encoder's logits are too small or too large for the
    task. So it is taken at the one of `SCALES` times the logits at which a trial of the run has the
    lowest loss of all: the order of the classes stays, and all trials share the scale.

    Scores without `losses`, which are no classification by probabilities, are ordered by their
    accuracy and loss as they are.

    Args:
        fitted: where this is false accuracies count in full, and the loss as the encoder gives it,
            as in the paper.
    """

    def __init__(self, *, fitted: bool = True) -> None:
        self._fitted = fitted
        self._lowest = [math.inf] * len(SCALES)
        self._best = RAW
        self._enough = math.inf

    @classmethod
    def of(cls, scores: Iterable[Score], *, fitted: bool = True) -> Ranking:
        """Fit the scale to the training scores of a run's trials."""
        ranking = cls(fitted=fitted)
        for score in scores:
            ranking.add(score)
        return ranking

    def add(self, score: Score) -> bool:
        """Take one more training score into the fit; tells whether the order may have changed."""
        if not self._fitted or not score.losses:
            return False
        before = self._best, self._enough
        self._lowest = list(map(min, self._lowest, score.losses))
        self._best = min(range(len(SCALES)), key=self._lowest.__getitem__)
        sure = score.accuracy - standard_error(score)
        self._enough = sure if math.isinf(self._enough) else max(self._enough, sure)
        return before != (self._best, self._enough)

    @property
    def scale(self) -> float:
        """What the encoder's logits are multiplied by; 1 leaves them as they are."""
        return SCALES[self._best]

    @property
    def enough(self) -> float:
        """The accuracy in percent from which on the loss decides; infinite where it never does."""
        return self._enough

    def loss(self, score: Score) -> float:
        """The loss that ranks: at the run's scale where the score knows it, in nats, rounded."""
        fitted = score.losses and self._best != RAW
        return round(score.losses[self._best] if fitted else score.loss, LOSS_DIGITS)

    def order(self, score: Score) -> tuple[float, float]:
        """Sort key of one training score, best highest."""
        accuracy = min(score.accuracy, self._enough) if score.losses else score.accuracy
        return (accuracy, -self.loss(score))

    def key(self, trial: Trial) -> tuple[float, float, float, float]:
        """Sort key of a trial, best highest: validation where there is one decides before training.

        Raises:
            ArgumentError: the trial has no score.
        """
        if trial.score is None:
            raise ArgumentError(
                f"A trial that is {trial.state.value} has no rank; expected an ok trial."
            )
        if trial.validation is None:
            return (*self.order(trial.score), 0.0, 0.0)
        validation = trial.validation
        return (validation.accuracy, -self.loss(validation), *self.order(trial.score))


def standard_error(score: Score) -> float:
    """The standard error of a share of right answers, in points; 0 where it is no share.

    Of metrics between right and wrong it is the most that there can be.
    """
    share = score.accuracy / 100
    return 100 * math.sqrt(max(0.0, share * (1 - share)) / score.n) if score.n else 0.0


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
