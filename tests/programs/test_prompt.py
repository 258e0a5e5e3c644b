"""The seam between a program and what it classifies with."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from PIL import Image
from torch import Tensor

from ipo_dspy import CLIPClassifier
from ipo_dspy.errors import UnknownNameError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.programs.prompt import TextPrompt, load_learned
from ipo_dspy.prompts.template import Template
from ipo_dspy.testing import COLOURS, ColourEncoder, check_prompt, colour_examples

IMAGES: list[Image.Image] = [example.image for example in colour_examples(1)]


@pytest.fixture
def embedder() -> Embedder:
    return Embedder(ColourEncoder(), cache="off")


@pytest.mark.parametrize("text", ["<CLASS>", "a <CLASS>\nthe <CLASS>"])
def test_texts_keep_the_promises(embedder: Embedder, text: str) -> None:
    check_prompt(TextPrompt(Template(text)), embedder, list(COLOURS), IMAGES)


def test_a_prompt_whose_images_influence_each_other_is_found_out(embedder: Embedder) -> None:
    class Leaking(TextPrompt):
        def logits(
            self, embedder: Embedder, image_features: Tensor, classnames: Sequence[str]
        ) -> Tensor:
            return super().logits(embedder, image_features, classnames) + len(image_features)

    with pytest.raises(AssertionError, match="alone"):
        check_prompt(Leaking(Template("<CLASS>")), embedder, list(COLOURS), IMAGES)


def test_a_program_classifies_with_its_prompt(embedder: Embedder) -> None:
    program = CLIPClassifier(list(COLOURS), embedder)
    prompt = program.predict.prompt()
    assert prompt == TextPrompt(program.template)
    expected = prompt.logits(embedder, prompt.image_features(embedder, IMAGES), list(COLOURS))
    features = embedder.image_features(IMAGES)
    assert torch.equal(program.predict.logits(features, program.template), expected)


def test_what_nobody_registered_is_not_loaded() -> None:
    with pytest.raises(UnknownNameError, match="nobody"):
        load_learned({"learner": "nobody"}, {})
