import json
from collections.abc import Mapping

import pytest

from ipo_dspy.demo.proposer.evidence import descriptions, earlier_prompts
from ipo_dspy.proposing.reading import Asked


def asked(inputs: Mapping[str, str], text: str = "") -> Asked:
    return Asked(fields=(), inputs=inputs, as_json=False, text=text or "\n".join(inputs.values()))


def test_history_is_ordered_by_accuracy_and_loss_together() -> None:
    rows = [
        {"prompt": "middle", "loss": 2.0, "accuracy": 50.0},
        {"prompt": "best", "loss": 1.0, "accuracy": 50.0},
        {"prompt": "worst", "loss": 1.9, "accuracy": 10.0},
    ]
    assert earlier_prompts(asked({"history": json.dumps(rows)})) == ["worst", "middle", "best"]


def test_attempts_of_copro_are_ordered_by_their_scores() -> None:
    text = (
        "[1] «Instruction #1: a photo of a <CLASS>.»\n[2] «Prefix #1: Label:»\n"
        "[3] «Resulting Score #1: 70.5»\n[4] «Instruction #2: a sketch of a <CLASS>.»\n"
        "[5] «Prefix #2: Label:»\n[6] «Resulting Score #2: 8.0»"
    )
    prompts = earlier_prompts(asked({"attempted_instructions": text}))
    assert prompts == ["a sketch of a <CLASS>.", "a photo of a <CLASS>."]


def test_attempts_of_miprov2_follow_the_basic_instruction() -> None:
    inputs = {
        "previous_instructions": "an icon of a <CLASS>. | Score: 60.0\n\n"
        "a map of a <CLASS>. | Score: 20.0\n\n",
        "basic_instruction": "a photo of a <CLASS>.",
    }
    assert earlier_prompts(asked(inputs)) == [
        "a photo of a <CLASS>.",
        "a map of a <CLASS>.",
        "an icon of a <CLASS>.",
    ]


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"basic_instruction": "a photo of a <CLASS>."}, ""),
        ({}, "I gave these instructions:\n```\na photo of a <CLASS>.\n```\nWrite new ones in ```."),
        ({"modules": "Original Instructions:\n\t\ta photo of a <CLASS>.\n---"}, ""),
    ],
)
def test_the_current_template_is_found(inputs: Mapping[str, str], text: str) -> None:
    assert earlier_prompts(asked(inputs, text)) == ["a photo of a <CLASS>."]


def test_sentences_about_the_slot_are_no_templates() -> None:
    text = "A template keeps the placeholder <CLASS> exactly once.\nEvery prompt must have <CLASS>."
    assert earlier_prompts(asked({"task": text})) == []


def test_the_descriptions_are_found() -> None:
    told = json.dumps(["Image 0: chalk, blackboard", "Image 1: photo"])
    assert descriptions(asked({"image_descriptions": told})) == [
        "Image 0: chalk, blackboard",
        "Image 1: photo",
    ]
