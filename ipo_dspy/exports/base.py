"""The seam of exports: what was found, and who writes it for a person or another tool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ipo_dspy.errors import ArgumentError

if TYPE_CHECKING:
    from ipo_dspy.exports.report import Report
    from ipo_dspy.images.image import ImageSource
    from ipo_dspy.programs.classifier import CLIPClassifier


@dataclass(frozen=True)
class Found:
    """What there is to export.

    Attributes:
        program: classifies with what was found.
        report: how it was found and how good it is; None where only the program is known.
        dataset: what the other tool calls the data, where its files say so.
        images: to be labelled, for formats that are made of labels.
    """

    program: CLIPClassifier
    report: Report | None = None
    dataset: str = "imagenet1k"
    images: Sequence[ImageSource] = ()


@runtime_checkable
class Exporter(Protocol):
    """Writes what was found as one file; `ipo_dspy.testing.check_exporter` checks one."""

    @property
    def suffix(self) -> str:
        """What names of its files end with, such as `.json`; empty where it writes a folder."""

    def write(self, path: Path, found: Found) -> None:
        """Write to a path, replacing what is there; the same for the same, byte by byte.

        A folder is made where there is none, and other files in it stay.

        Raises:
            ArgumentError: the format cannot carry what was found; the message says why, and which
                export can.
            OSError: the file cannot be written.
        """


@runtime_checkable
class Explained(Protocol):
    """What an exporter may offer beside the protocol."""

    def usage(self, path: Path, found: Found) -> Sequence[str]:
        """Lines to copy that use the file in the tool it is for."""


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
