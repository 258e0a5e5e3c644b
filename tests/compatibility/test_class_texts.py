"""DSPy's own optimizers on the instruction that says how to describe a class."""

from __future__ import annotations

import json
from typing import Any

import dspy
import pytest

from ipo_dspy import CLIPClassifier, TemplateProposer, clip_acc
from ipo_dspy.scoring.evaluate import BatchEvaluate
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

GOOD = "Describe it crisply."


def answer(number: int, request: str) -> str:
    """Describes well where it is told how, and proposes to tell so to whoever optimises."""
    fields: dict[str, str]
    template = f"a photo number {number} of a <CLASS>."
    if "`proposed_instruction`" in request:
        is_template = "<CLASS>" in request.split("basic_instruction ## ]]")[-1]
        text = template if is_template else GOOD
        fields = {"proposed_instruction": text, "proposed_prefix_for_output_field": "Said:"}
    elif "`new_instruction`" in request:
        return json.dumps({"new_instruction": GOOD})
    elif "`descriptions`" in request:
        fields = {"descriptions": "crisp and flat" if GOOD in request else "dull"}
    else:
        return f"```\n{template}\n```"
    blocks = [f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items()]
    return "\n\n".join([*blocks, "[[ ## completed ## ]]"])


def copro(program: CLIPClassifier, lm: dspy.LM, trainset: list[dspy.Example]) -> Any:
    return dspy.COPRO(metric=clip_acc, breadth=2, depth=1).compile(
        program, trainset=trainset, eval_kwargs={"num_threads": 2, "display_progress": False}
    )


def gepa(program: CLIPClassifier, lm: dspy.LM, trainset: list[dspy.Example]) -> Any:
    return dspy.GEPA(
        metric=clip_acc,
        reflection_lm=lm,
        max_metric_calls=60,
        instruction_proposer=TemplateProposer(program),
        num_threads=2,
    ).compile(program, trainset=trainset, valset=trainset)


@pytest.mark.slow
@pytest.mark.parametrize("optimize", [copro, gepa])
def test_the_optimizer_finds_how_to_describe(optimize: Any) -> None:
    lm = scripted_lm(answer, field=None)
    program = CLIPClassifier(list(COLOURS), ColourEncoder(), describe=2)
    examples = colour_examples()

    with dspy.context(lm=lm):
        found = optimize(program, lm, examples)

    with dspy.context(lm=None):
        evaluate = BatchEvaluate(devset=examples, metric=clip_acc, num_threads=1)
        assert evaluate(found).score == 100.0
    assert found.describe.signature.instructions == GOOD
    assert found.class_texts["red"] == ("crisp and flat",)
