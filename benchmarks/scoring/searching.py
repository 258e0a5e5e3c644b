"""How the cost of a search grows with its trials, and with the descriptions it is told."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Mapping

from benchmarks.scoring.scaling import Growth, grow
from benchmarks.scoring.workload import Workload
from ipo_dspy import CLIPClassifier, IPOOptimizer
from ipo_dspy.images.image import ImageSource
from ipo_dspy.records import Description
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

TRIALS = (50, 200, 800)
DESCRIPTIONS = (6, 60, 600)
_PROMPTS_PER_STEP = 5
_FEW_TRIALS = 20


class _Numbers:
    """Describes every image with a sentence of its own."""

    spec = "numbers"
    calls_per_image = 0

    def describe(self, images: Mapping[int, ImageSource]) -> Iterator[Description]:
        """Give the sentences."""
        for number in images:
            yield Description(index=number, text=f"a plain picture, number {number}, of one colour")


def measure_searching(workload: Workload) -> list[Growth]:
    """Search with a model that answers at once, so that all that is left is the search itself."""
    logging.disable(logging.INFO)
    try:
        return [
            grow("search", lambda trials: _search(trials, 6), workload.rounds, trials=TRIALS),
            grow(
                "be told of images",
                lambda descriptions: _search(_FEW_TRIALS, descriptions),
                workload.rounds,
                descriptions=DESCRIPTIONS,
            ),
        ]
    finally:
        logging.disable(logging.NOTSET)


def _search(trials: int, descriptions: int) -> Hashable:
    images = colour_examples(max(1, descriptions // len(COLOURS)))
    program = IPOOptimizer(
        prompt_model=scripted_lm(lambda number, request: f"a crisp <CLASS>, number {number}"),
        describer=_Numbers(),
        steps=trials // _PROMPTS_PER_STEP,
        prompts_per_step=_PROMPTS_PER_STEP,
        images_described=descriptions,
        num_threads=1,
    ).compile(CLIPClassifier(tuple(COLOURS), ColourEncoder()), trainset=images)
    return str(program.template)
