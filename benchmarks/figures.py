"""Accuracies on base and novel classes, their averages, and how they are written side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ipo_dspy.errors import ArgumentError
from ipo_dspy.scoring.comparison import harmonic_mean

NONE = "–"
"""Stands where there is no figure."""


@dataclass(frozen=True)
class Figures:
    """Accuracies on unseen images of base and of novel classes, in percent."""

    base: float
    novel: float

    @property
    def h(self) -> float:
        """The harmonic mean of both."""
        return harmonic_mean(self.base, self.novel)

    @property
    def cells(self) -> tuple[str, str, str]:
        """Base, novel and H as they are written in a table."""
        return f"{self.base:.2f}", f"{self.novel:.2f}", f"{self.h:.2f}"

    def rounded(self) -> dict[str, Any]:
        """Base, novel and H as they are written to a file."""
        return {"base": round(self.base, 2), "novel": round(self.novel, 2), "h": round(self.h, 2)}


def average(figures: Iterable[Figures]) -> Figures:
    """Average base and novel; H is then that of the averages, and no average of H.

    Raises:
        ArgumentError: there are no figures.
    """
    listed = list(figures)
    if not listed:
        raise ArgumentError("Expected figures to average, got none.")
    return Figures(fmean(f.base for f in listed), fmean(f.novel for f in listed))


@dataclass(frozen=True)
class Row:
    """One line of a table: what was measured here, beside what the poster has."""

    labels: tuple[str, ...]
    ours: Figures | None
    poster: Figures | None = None


def parallel(headings: Sequence[str], rows: Iterable[Row]) -> list[str]:
    """Write rows as a Markdown table; the poster's columns only where it has any of the figures.

    Args:
        headings: of the labels.
        rows: the lines.
    """
    listed = list(rows)
    columns = [*headings, "base", "novel", "H"]
    cells = [[*row.labels, *_cells(row.ours)] for row in listed]
    if any(row.poster for row in listed):
        columns += ["poster: base", "novel", "H"]
        cells = [[*c, *_cells(row.poster)] for c, row in zip(cells, listed, strict=True)]
    return aligned(columns, cells, left=len(headings))


def aligned(headings: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """Write a Markdown table whose columns line up, so that it reads well in a terminal too.

    Args:
        headings: of the columns.
        rows: as many cells each.
        left: how many of the first columns are aligned to the left.
    """
    lines = [list(headings), *(list(row) for row in rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    written = [
        "| " + " | ".join(_padded(cell, widths[i], i < left) for i, cell in enumerate(line)) + " |"
        for line in lines
    ]
    rule = ("-" * (width + 1) + ("-" if i < left else ":") for i, width in enumerate(widths))
    return [written[0], f"|{'|'.join(rule)}|", *written[1:]]


def _cells(figures: Figures | None) -> tuple[str, ...]:
    return (NONE,) * 3 if figures is None else figures.cells


def _padded(cell: str, width: int, to_the_left: bool) -> str:
    return cell.ljust(width) if to_the_left else cell.rjust(width)
