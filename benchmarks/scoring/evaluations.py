"""One new template on cached images: how much sooner than by `dspy.Evaluate`?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from tempfile import TemporaryDirectory

import dspy
import numpy as np
from PIL import Image

from benchmarks.scoring.rows import Figure, Row
from benchmarks.scoring.timing import alternate
from benchmarks.scoring.workload import Workload
from ipo_dspy import BatchEvaluate, CLIPClassifier, clip_acc
from ipo_dspy.images import labeled_image
from ipo_dspy.images.image import ImageFile
from ipo_dspy.scoring.scorers import TensorScorer

IMAGES = 2000
CLASSES = 10
_OURS, _BATCHED = "tensors", "BatchEvaluate"
_ONE_THREAD, _DEFAULT = "dspy.Evaluate, 1 thread", "dspy.Evaluate, its default"


def measure_evaluation(workload: Workload) -> list[Row]:
    """Score a template that was never seen before, with the demo encoder's small text tower."""
    names = [f"class {number}" for number in range(CLASSES)]
    program = CLIPClassifier(names)
    numbers = count()

    def new_template() -> str:
        return f"a photo, number {next(numbers)}, of a <CLASS>."

    def evaluate(evaluation: dspy.Evaluate, template: str) -> float:
        predictor = program.predict
        predictor.signature = predictor.signature.with_instructions(template)
        with dspy.context(trace=None):
            return evaluation(program).score

    with _pictures(names) as examples, _quiet():
        scorer = TensorScorer(program.predict, examples, clip_acc)
        evaluations: dict[str, dspy.Evaluate] = {
            _BATCHED: BatchEvaluate(devset=examples, metric=clip_acc),
            _ONE_THREAD: dspy.Evaluate(devset=examples, metric=clip_acc, num_threads=1),
            _DEFAULT: dspy.Evaluate(devset=examples, metric=clip_acc),
        }
        template = new_template()
        scores = [round(scorer.score([template])[0].accuracy, 2)]
        scores += [evaluate(evaluation, template) for evaluation in evaluations.values()]
        works: dict[str, Callable[[], object]] = {_OURS: lambda: scorer.score([new_template()])}
        for name, evaluation in evaluations.items():
            works[name] = partial(lambda each: evaluate(each, new_template()), evaluation)
        seconds = alternate(works, 3 * workload.rounds)
    return [
        Row(
            what=f"one new template on {IMAGES:,} cached images",
            against=against,
            figures={
                "times as fast": Figure(seconds[against] / seconds[_OURS], at_least=100),
                "BatchEvaluate, times as fast": Figure(seconds[against] / seconds[_BATCHED]),
                "difference in accuracy": Figure(max(scores) - min(scores), at_most=0),
            },
            seconds=seconds,
        )
        for against in (_ONE_THREAD, _DEFAULT)
    ]


@contextmanager
def _pictures(names: list[str]) -> Iterator[list[dspy.Example]]:
    """Files of small pictures of noise, whose features do not matter."""
    random = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        examples = []
        for number in range(IMAGES):
            file = f"{folder}/{number}.png"
            Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
            examples.append(labeled_image(ImageFile(file), names[number % CLASSES]))
        yield examples


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back DSPy's line for each evaluation."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
