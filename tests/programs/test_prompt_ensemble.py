from pathlib import Path

import dspy
import pytest
import torch

from ipo_dspy import CLIPClassifier
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.programs.prompt_ensemble import prompt_ensemble
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples

NAMES = list(COLOURS)
TEMPLATES = ["a crisp photo of a <CLASS>.", "a flat <CLASS>.", "a picture of a <CLASS>."]


@pytest.fixture
def programs() -> list[CLIPClassifier]:
    embedder = Embedder(ColourEncoder())
    return [CLIPClassifier(NAMES, embedder, template) for template in TEMPLATES]


def test_the_classes_get_the_mean_of_the_unit_features(programs: list[CLIPClassifier]) -> None:
    embedder = programs[0].embedder
    ensemble = prompt_ensemble(programs)
    each = [embedder.text_features(program.template, NAMES) for program in programs]
    mean = torch.nn.functional.normalize(torch.stack(each).mean(dim=0), dim=-1)
    assert torch.allclose(embedder.text_features(ensemble.template, NAMES), mean, atol=1e-6)


def test_the_ensemble_is_one_program_in_one_file(
    programs: list[CLIPClassifier], tmp_path: Path
) -> None:
    ensemble = prompt_ensemble(programs)
    ensemble.save(tmp_path / "ensemble.json")
    loaded = CLIPClassifier.from_file(tmp_path / "ensemble.json", clip=programs[0].embedder)
    images = [example.image for example in colour_examples(1)]
    assert loaded.template.lines == tuple(TEMPLATES)
    assert loaded.predict_batch(images) == ensemble.predict_batch(images)


def test_equal_prompts_count_once(programs: list[CLIPClassifier]) -> None:
    ensemble = prompt_ensemble([programs[0], programs[0], prompt_ensemble(programs)])
    assert ensemble.template.lines == tuple(TEMPLATES)


def test_repaired_texts_are_joined_as_they_are_used(programs: list[CLIPClassifier]) -> None:
    predictor = programs[1].predict
    predictor.signature = predictor.signature.with_instructions("Look closely.")
    assert prompt_ensemble(programs).template.lines[1] == "<CLASS>. Look closely."


def test_the_programs_stay_as_they_were(programs: list[CLIPClassifier]) -> None:
    prompt_ensemble(programs)
    assert [program.template.text for program in programs] == TEMPLATES


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ([], "at least one program"),
        ([dspy.Predict("image -> label")], "has no CLIPPredict"),
    ],
)
def test_there_must_be_something_to_join(others: list[dspy.Module], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prompt_ensemble(others)


def test_the_classes_must_be_the_same(programs: list[CLIPClassifier]) -> None:
    other = CLIPClassifier(NAMES[:3], programs[0].embedder)
    with pytest.raises(ValueError, match="same classes"):
        prompt_ensemble([*programs, other])
