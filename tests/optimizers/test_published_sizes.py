"""How many numbers are learned in CLIP ViT-B/16, as the authors' code has it."""

from __future__ import annotations

import open_clip
import pytest

from ipo_dspy import CLIPClassifier, CoCoOp, CoOp, CoPrompt, MaPLe, PromptSRC
from ipo_dspy.encoders.open_clip import OpenCLIPEncoder
from ipo_dspy.optimizers.prompt_learner import PromptLearner, count_parameters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def program() -> CLIPClassifier:
    name = "ViT-B-16-quickgelu"
    model, _, preprocess = open_clip.create_model_and_transforms(name, pretrained=None)
    tokenizer = open_clip.get_tokenizer(name)
    encoder = OpenCLIPEncoder(f"open_clip:{name}/none", model.eval(), preprocess, tokenizer)
    return CLIPClassifier(["cat", "dog"], encoder)


@pytest.mark.parametrize(
    ("learner", "count"),
    [
        (CoOp(), 2_048),
        (CoCoOp(), 35_360),
        (MaPLe(), 3_555_072),
        (MaPLe.for_transfer(), 1_185_024),
        (PromptSRC(), 46_080),
        (PromptSRC.for_transfer(), 15_360),
        (CoPrompt.for_dataset("OxfordPets"), 5_002_240),
        (CoPrompt.for_dataset("Caltech101"), 5_014_528),
        (CoPrompt.for_dataset("Food101"), 3_826_432),
    ],
)
def test_counts(program: CLIPClassifier, learner: PromptLearner, count: int) -> None:
    assert count_parameters(learner.prompted(program)) == count
