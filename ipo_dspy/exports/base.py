"""The seam of exports: what was found, and who writes it for a person or another tool."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ipo_dspy.errors import ArgumentError

if TYPE_CHECKING:
    from ipo_dspy.exports.report import Report
    from ipo_dspy.programs.classifier import CLIPClassifier


@dataclass(frozen=True)
class Found:
    """What there is to export.

    Attributes:
        program: classifies with what was found.
        report: how it was found and how good it is; None where only the program is known.
    """

    program: CLIPClassifier
    report: Report | None = None


@runtime_checkable
class Exporter(Protocol):
    """Writes what was found as one file; `ipo_dspy.testing.check_exporter` checks one."""

    @property
    def suffix(self) -> str:
        """What names of its files end with, such as `.json`."""

    def write(self, path: Path, found: Found) -> None:
        """Write to a path, replacing what is there; the same for the same, byte by byte.

        Raises:
            ArgumentError: the format cannot carry what was found; the message says why, and which
                export can.
            OSError: the file cannot be written.
        """


def needs_report(found: Found, what: str) -> Report:
    """Give the report of what was found.

    Raises:
        ArgumentError: there is none.
    """
    if found.report is None:
        raise ArgumentError(
            f"{what} tells of a search, and here is a program alone; export the run folder of a "
            "search instead."
        )
    return found.report
