"""The order of trials: accuracy as far as it is no luck, then the loss at one fitted scale."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from statistics import fmean, pstdev

from ipo_dspy.errors import ArgumentError
from ipo_dspy.records import SCALES, Score, Trial

RAW = SCALES.index(1.0)
LOSS_DIGITS = 6
"""Decimals of a loss that count in a ranking: what follows may be the last bits of float32."""

_HALF = 2
"""So many of `SCALES` lie between a scale and its half."""

_HIGHEST = SCALES.index(16.0)
"""Where some template has all images right, the loss falls with every scale; no more is taken."""

_ERRORS = 2
"""Accuracies so many standard errors apart are no luck."""


class Ranking:
    """Orders the scored trials of one run: higher accuracy, then the lower fitted loss.

    The highest of many accuracies on few images is in good part luck. So accuracies within two
    standard errors of the highest count as equal, and the loss decides between them: the rule of
    Breiman et al. (Classification and Regression Trees, 1984) has one, which still lets luck in.

    The loss is a cross-entropy, and says little where logits are too small or too large for the
    task, and favours the template that spreads them as few images have it. So it is that of logits
    in units of their own spread (see `Score`), and at one scale for all trials of the run: half
    of the one of `SCALES` at which a trial has the lowest loss of all. At the whole of it a few
    images near the border between two classes make most of the loss; at half, all of them do.

    Scores without `losses`, which are no classification by probabilities, are ordered by their
    accuracy and loss as they are.

    Args:
        fitted: where this is false accuracies count in full, and the loss as the encoder gives it,
            as in the paper.
    """

    def __init__(self, *, fitted: bool = True) -> None:
        self._fitted = fitted
        self._lowest = [math.inf] * len(SCALES)
        self._chosen: int | None = None
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
        before = self._chosen, self._enough
        self._lowest = list(map(min, self._lowest, in_spreads(score)))
        best = min(range(_HIGHEST + 1), key=self._lowest.__getitem__)
        self._chosen = max(0, best - _HALF)
        sure = score.accuracy - _ERRORS * standard_error(score)
        self._enough = sure if math.isinf(self._enough) else max(self._enough, sure)
        return before != (self._chosen, self._enough)

    @property
    def scale(self) -> float:
        """What logits in units of their spread are multiplied by; 1 where nothing is fitted."""
        return 1.0 if self._chosen is None else SCALES[self._chosen]

    @property
    def enough(self) -> float:
        """The accuracy in percent from which on the loss decides; infinite where it never does."""
        return self._enough

    def loss(self, score: Score) -> float:
        """The loss that ranks: at the run's scale where the score knows it, in nats, rounded."""
        if self._chosen is None or not score.losses:
            return round(score.loss, LOSS_DIGITS)
        return round(in_spreads(score)[self._chosen], LOSS_DIGITS)

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


def in_spreads(score: Score) -> Sequence[float]:
    """The losses at each of `SCALES` times the logits in units of their spread.

    Where the spread is not known they are those of the logits as they are.
    """
    return _in_spreads(score.losses, score.spread) if score.spread else score.losses


@lru_cache(maxsize=4096)
def _in_spreads(losses: Sequence[float], spread: float) -> Sequence[float]:
    """Read the losses between the scales, by the cubic through the four nearest ones."""
    steps = _HALF * math.log2(spread)
    return [_between(losses, place - steps) for place in range(len(losses))]


def _between(values: Sequence[float], place: float) -> float:
    """Lagrange's cubic through the values at the four whole places about one; ends are kept."""
    place = min(max(place, 0.0), len(values) - 1.0)
    first = min(max(math.floor(place) - 1, 0), len(values) - 4)
    a, b, c, d = values[first : first + 4]
    x = place - first
    return (
        -a * (x - 1) * (x - 2) * (x - 3) / 6
        + b * x * (x - 2) * (x - 3) / 2
        - c * x * (x - 1) * (x - 3) / 2
        + d * x * (x - 1) * (x - 2) / 6
    )


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
