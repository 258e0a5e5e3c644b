"""How cost grows with images, classes, templates and tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np

from benchmarks.scoring.given import given_scorer
from benchmarks.scoring.timing import alternate
from benchmarks.scoring.workload import Workload, filled

IMAGES = (500, 4000, 32_000)
CLASSES = (10, 100, 1000)
TEMPLATES = (1, 4, 16)
ENCODED_CLASSES = (10, 50, 250)
MOST_EXPONENT = 1.1
WORDS = (4, 16, 64)
_CLASSES, _TEMPLATES = 50, 8


@dataclass(frozen=True)
class Cost:
    """What a task of one size took: median seconds."""

    sizes: Mapping[str, int]
    seconds: float


@dataclass(frozen=True)
class Growth:
    """How the cost of a task grows with its sizes."""

    task: str
    costs: Sequence[Cost]

    @property
    def exponents(self) -> dict[str, float]:
        """To which power of each size the cost grows, by least squares on the logarithms."""
        names = list(self.costs[0].sizes)
        sizes = np.array([[cost.sizes[name] for name in names] for cost in self.costs])
        design = np.column_stack([np.log(sizes), np.ones(len(sizes))])
        seconds = np.array([cost.seconds for cost in self.costs])
        solution = np.linalg.lstsq(design, np.log(seconds))[0]
        return dict(zip(names, solution.tolist(), strict=False))


def measure_growth(workload: Workload) -> list[Growth]:
    """Measure the encoding of templates and the scoring of cached images."""
    encoder = workload.encoder("bfloat16" if workload.device == "cuda" else "float32")

    def encode(template: str, classes: int, templates: int) -> None:
        encoder.encode_templates([filled(template, classes)] * templates)

    def encode_after(words: int) -> None:
        encode("a <CLASS>" + " word" * words, _CLASSES, _TEMPLATES)

    def encode_before(words: int) -> None:
        encode("word " * words + "a <CLASS>", _CLASSES, _TEMPLATES)

    encode("a <CLASS>", 2, 1)  # At its first text, an encoder checks itself.
    photo = partial(encode, "a photo of a <CLASS>.")
    rounds = workload.rounds
    return [
        grow("encode templates", photo, rounds, classes=ENCODED_CLASSES, templates=TEMPLATES),
        grow("encode words after the class name", encode_after, rounds, words=WORDS),
        grow("encode words before the class name", encode_before, rounds, words=WORDS),
        grow(
            "score cached images",
            _scoring(),
            rounds,
            images=IMAGES,
            classes=CLASSES,
            templates=TEMPLATES,
        ),
    ]


def grow(task: str, work: Callable[..., object], rounds: int, **sizes: Sequence[int]) -> Growth:
    """Time a work at every combination of its sizes."""
    combinations = [dict(zip(sizes, values, strict=True)) for values in product(*sizes.values())]
    works = {str(index): partial(work, **each) for index, each in enumerate(combinations)}
    seconds = alternate(works, rounds)
    return Growth(task, [Cost(*pair) for pair in zip(combinations, seconds.values(), strict=True)])


def _scoring() -> Callable[[int, int, int], object]:
    """Prepare the scoring of known templates on images that are encoded already."""
    texts = [f"a photo of a <CLASS>, number {number}" for number in range(max(TEMPLATES))]
    scorers = {sizes: given_scorer(*sizes) for sizes in product(IMAGES, CLASSES)}
    for scorer in scorers.values():
        scorer.score(texts)

    def score(images: int, classes: int, templates: int) -> object:
        return scorers[images, classes].score(texts[:templates])

    return score
