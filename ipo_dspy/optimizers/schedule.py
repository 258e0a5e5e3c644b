"""The numbers of a training: rate by epoch, batches, weights of an average over epochs."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from ipo_dspy.errors import ArgumentError

WARM_UP_RATE = 1e-5
"""Learning rate of the first epoch."""


@dataclass(frozen=True)
class Recipe:
    """What the authors of a learner train with: SGD with momentum, one rate an epoch.

    Attributes:
        epochs: how many.
        batch_size: images of a step.
        lr: learning rate of the second epoch, from which it falls.
        momentum: of SGD.
        weight_decay: of SGD, on every learned tensor.
    """

    epochs: int
    batch_size: int
    lr: float
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ArgumentError(f"{name} must be at least 1, got {getattr(self, name)}.")
        if not self.lr > 0:
            raise ArgumentError(f"lr must be above 0, got {self.lr}.")

    def lr_in(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 1: constant warm-up, then a cosine.

        The cosine begins in the second epoch at the full rate and has all epochs as its period,
        so that the last epoch does not reach 0.
        """
        if epoch == 1:
            return WARM_UP_RATE
        return self.lr * (1 + math.cos(math.pi * (epoch - 2) / self.epochs)) / 2

    def steps_per_epoch(self, images: int) -> int:
        """How many batches an epoch has."""
        return max(1, images // self.batch_size)

    def batches(self, images: int, epoch: int, seed: int) -> list[list[int]]:
        """Shuffle the images of an epoch into batches; a last one that is not full is dropped.

        Fewer images than a batch are one batch. The order depends on seed and epoch alone.
        """
        order = list(range(images))
        random.Random(f"batches {seed} {epoch}").shuffle(order)
        size = self.batch_size
        return [
            order[step * size : (step + 1) * size] for step in range(self.steps_per_epoch(images))
        ]


@dataclass(frozen=True)
class GaussianAverage:
    """Weights of epochs in an average: a normal curve over their numbers.

    Attributes:
        mean: the epoch that weighs most.
        deviation: standard deviation in epochs.
    """

    mean: float
    deviation: float

    def weights(self, epochs: int) -> list[float]:
        """The weights of epochs 1 to `epochs`; they add up to 1."""
        raw = [
            math.exp(-(((epoch - self.mean) / self.deviation) ** 2) / 2)
            for epoch in range(1, epochs + 1)
        ]
        return [weight / math.fsum(raw) for weight in raw]
