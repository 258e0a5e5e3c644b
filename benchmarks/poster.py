"""The figures that IPO's poster and paper print, read from `poster.json`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from benchmarks.figures import Figures, average
from ipo_dspy.records import Record

_ROUNDING = 0.02
"""So much may a printed H differ, as base and novel are rounded themselves."""


@dataclass(frozen=True)
class Printed(Figures):
    """Figures as they are printed; `h` is worked out anew from base and novel."""

    printed_h: float

    @property
    def is_misprinted(self) -> bool:
        """Whether the printed H is no harmonic mean of the printed base and novel."""
        return abs(self.h - self.printed_h) > _ROUNDING

    @property
    def cells(self) -> tuple[str, str, str]:
        """Base, novel and H as they are written in a table, a wrong H beside the right one."""
        base, novel, h = super().cells
        return base, novel, f"{h} (printed: {self.printed_h:.2f})" if self.is_misprinted else h


def _read(row: Any) -> Any:
    return Printed(*row) if isinstance(row, list) else row


PrintedRow = Annotated[Printed, BeforeValidator(_read)]
"""In the file, a list of base, novel and H."""


class Curve(Record):
    """What can be read off the poster's plot of training accuracy over steps."""

    dataset: str
    steps: int
    best_step: int
    lowest_accuracy: float
    highest_accuracy: float


class Poster(Record):
    """What the poster and the paper print of 1-shot runs with OpenAI's CLIP ViT-B/16.

    Attributes:
        source: where the figures are from.
        datasets: by data set, then by method.
        averages: by method, over the eleven data sets.
        generic_template: CLIP with `a photo of a <CLASS>.`, by data set.
        prompt_models: IPO by the model that proposes, averaged over the data sets.
        image_models: IPO by the model that describes, averaged over the data sets.
        descriptions: IPO `with` and `without` descriptions, averaged over the data sets.
        history: IPO by the number of prompts shown, averaged over the data sets.
        curve: of IPO's steps.
        best_prompts: by data set.
    """

    source: str
    datasets: dict[str, dict[str, PrintedRow]]
    averages: dict[str, PrintedRow]
    generic_template: dict[str, PrintedRow]
    prompt_models: dict[str, PrintedRow]
    image_models: dict[str, PrintedRow]
    descriptions: dict[str, PrintedRow]
    history: dict[int, PrintedRow]
    curve: Curve
    best_prompts: dict[str, str]

    def of(self, method: str, dataset: str) -> Printed | None:
        """A method's figures on a data set, where the poster has them."""
        return self.datasets.get(dataset, {}).get(method)

    def average(self, method: str, datasets: Iterable[str]) -> Figures:
        """Average a method's figures over some of the data sets."""
        return average(self.datasets[name][method] for name in datasets)


POSTER = Poster.model_validate_json(
    Path(__file__).with_name("poster.json").read_text(encoding="utf-8")
)
