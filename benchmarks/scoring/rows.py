"""What a benchmark found out: figures, the bounds they must keep, and the seconds behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Figure:
    """A measured number and the bound it must keep, if any."""

    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the bound is kept."""
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        what: what was measured.
        against: what it was measured against, side by side.
        figures: by what they are.
        seconds: medians, by what took them.
    """

    what: str
    against: str
    figures: Mapping[str, Figure]
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def reached(self) -> bool:
        """Whether every bound is kept."""
        return all(figure.reached for figure in self.figures.values())
