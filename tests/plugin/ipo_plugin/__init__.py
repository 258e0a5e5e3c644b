"""One plug-in of each kind, as a third party would write them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ipo_dspy.features.backends import EmbeddingJob, LocalBackend, Shard

from ipo_dspy.search.strategies.base import Candidate, SearchView
from ipo_dspy.testing import ColourEncoder

TEXTS = ("a crisp flat <CLASS>", "a dull <CLASS>", "a <CLASS>", "one <CLASS>")


class Frames:
    """Tries a few texts and asks no model."""

    in_order = True

    def __init__(self, prompts_per_step: int, seed: int) -> None:
        self._texts = iter(TEXTS)

    def ask(self, view: SearchView, free: int) -> Sequence[Candidate]:
        """Try the next text."""
        step = view.step + 1
        text = None if view.open or step > view.steps else next(self._texts, None)
        return [] if text is None else [Candidate(step, view.predictor(step), text)]

    def tell(self, trial: Any) -> None:
        """Nothing to learn."""


class KeepsTheFirst:
    """An optimizer that leaves a program as it is."""

    def compile(self, student: Any, **_: Any) -> Any:
        """Give a copy."""
        return student.deepcopy()


class Backwards:
    """Embeds here, and gives the last shard first: an order that a back end is free to choose."""

    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        """Give the shards from the last one on."""
        yield from reversed(list(LocalBackend().run(job)))


class PlainText:
    """Writes the bare prompt."""

    suffix = ".txt"

    def write(self, path: Path, found: Any) -> None:
        """Write the prompt and a line end."""
        path.write_text(f"{found.program.template.text}\n", encoding="utf-8")


def load_encoder(spec: str, *, device: str, precision: str) -> ColourEncoder:
    """Make the encoder of the spec `plugged`."""
    encoder = ColourEncoder()
    encoder.spec = spec
    return encoder
