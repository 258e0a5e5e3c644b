"""The training of a prompted model: epochs, resumed between them."""

from __future__ import annotations

from ipo_dspy.records import Record


class Epoch(Record):
    """One finished epoch.

    Attributes:
        epoch: its number, from 1.
        loss: mean over its steps.
        accuracy: of its views as they were trained on, in percent.
        lr: its learning rate.
        seconds: it took.
    """

    epoch: int
    loss: float
    accuracy: float
    lr: float
    seconds: float
