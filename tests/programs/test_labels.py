"""A label that is no class name is an error on every path; it could never be found."""

from collections.abc import Callable

import dspy
import pytest

from ipo_dspy import BatchEvaluate, CLIPClassifier, IPOOptimizer, LabelError, clip_acc, clip_prob
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

WRONG: list[Callable[[str], str | None]] = [str.title, lambda label: f"{label} ", lambda _: None]


class Around(dspy.Module):
    """A program that holds a classifier and passes its predictions on."""

    def __init__(self) -> None:
        super().__init__()
        self.clip = CLIPClassifier(tuple(COLOURS), ColourEncoder())

    def forward(self, image: object) -> dspy.Prediction:
        return self.clip(image=image)


def misspelt(change: Callable[[str], str | None]) -> list[dspy.Example]:
    first, *rest = colour_examples()
    changed = dspy.Example(image=first.image, label=change(first.label)).with_inputs("image")
    return [*rest, changed]


@pytest.mark.slow
@pytest.mark.parametrize("change", WRONG)
@pytest.mark.parametrize("metric", [clip_acc, clip_prob])
@pytest.mark.parametrize(
    "program", [Around(), CLIPClassifier(tuple(COLOURS), ColourEncoder())], ids=type
)
def test_a_misspelt_label_ends_metrics_evaluations_and_searches(
    change: Callable[[str], str | None], metric: Callable[..., float], program: dspy.Module
) -> None:
    examples = misspelt(change)
    with pytest.raises(LabelError):
        metric(examples[-1], program(image=examples[-1].image))
    with pytest.raises(LabelError):
        BatchEvaluate(devset=examples, metric=metric)(program)
    optimizer = IPOOptimizer(metric, prompt_model=scripted_lm(["a <CLASS>"]), steps=1)
    with pytest.raises(LabelError):
        optimizer.compile(program, trainset=examples)
