import json
from pathlib import Path

import dspy
import pytest
import torch
from safetensors import safe_open

from ipo_dspy import CLIPClassifier, CoCoOp, CoOp, load_encoder
from ipo_dspy.demo.world import draw
from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Found
from ipo_dspy.exports.weights import WeightsExporter
from ipo_dspy.testing import COLOURS, ColourEncoder, check_exporter, scripted_lm

NAMES = ("cat", "boat", "cup")
ENSEMBLE = "a chalk drawing of a <CLASS>.\n<CLASS>, a sketch"


def test_it_keeps_the_promises_of_an_exporter(tmp_path: Path) -> None:
    program = CLIPClassifier(tuple(COLOURS), ColourEncoder(), "a crisp flat <CLASS>")
    check_exporter(WeightsExporter(), Found(program), tmp_path)


@pytest.mark.parametrize("template", ["a photo of a <CLASS>.", ENSEMBLE])
def test_the_matrix_gives_the_probabilities_of_the_program(tmp_path: Path, template: str) -> None:
    program = CLIPClassifier(NAMES, "demo", template)
    file = tmp_path / "weights.safetensors"
    WeightsExporter().write(file, Found(program))
    pictures = [draw(name, "chalk", seed=1) for name in NAMES]
    features = load_encoder("demo").encode_images(pictures)
    with safe_open(file, framework="pt") as saved:
        meaning = json.loads(saved.metadata()["ipo_dspy"])
        logits = saved.get_tensor("logit_scale") * features @ saved.get_tensor(
            "weights"
        ).T + saved.get_tensor("logit_bias")
    assert meaning["classnames"] == list(NAMES)
    assert meaning["templates"] == template.splitlines()
    expected = program.predict.logits(features, program.template)
    torch.testing.assert_close(logits.softmax(dim=-1), expected.softmax(dim=-1))


def trained(learner: type, tmp_path: Path) -> CLIPClassifier:
    examples = [
        dspy.Example(image=draw(name, "chalk", seed=2), label=name).with_inputs("image")
        for name in NAMES
    ]
    student = CLIPClassifier(NAMES, "demo")
    return learner(epochs=1, progress=False).compile(student, trainset=examples)


@pytest.mark.slow
def test_learned_vectors_are_a_matrix_where_images_change_nothing(tmp_path: Path) -> None:
    program = trained(CoOp, tmp_path)
    WeightsExporter().write(tmp_path / "weights.safetensors", Found(program))
    assert (tmp_path / "weights.safetensors").stat().st_size > 0


@pytest.mark.slow
def test_classes_that_depend_on_the_image_are_refused(tmp_path: Path) -> None:
    program = trained(CoCoOp, tmp_path)
    with pytest.raises(ArgumentError, match="program"):
        WeightsExporter().write(tmp_path / "weights.safetensors", Found(program))
    assert not (tmp_path / "weights.safetensors").exists()


def test_the_matrix_carries_texts_for_each_class(tmp_path: Path) -> None:
    texts = {"red": ["crisp", "flat"], "blue": ["flat"]}
    program = CLIPClassifier(tuple(COLOURS), ColourEncoder(), class_texts=texts)
    file = tmp_path / "weights.safetensors"
    WeightsExporter().write(file, Found(program))
    pictures = torch.eye(len(COLOURS))
    with safe_open(file, framework="pt") as saved:
        meaning = json.loads(saved.metadata()["ipo_dspy"])
        logits = saved.get_tensor("logit_scale") * pictures @ saved.get_tensor("weights").T

    assert meaning["class_texts"] == texts
    torch.testing.assert_close(logits, program.predict.logits(pictures, program.template))
    plain = CLIPClassifier(tuple(COLOURS), ColourEncoder())
    assert not torch.allclose(logits, plain.predict.logits(pictures, plain.template))


def test_a_program_that_describes_is_exported_with_what_it_says(tmp_path: Path) -> None:
    program = CLIPClassifier(tuple(COLOURS), ColourEncoder(), describe=2)
    file = tmp_path / "weights.safetensors"
    with dspy.context(lm=scripted_lm(["crisp"], field="descriptions")):
        WeightsExporter().write(file, Found(program))
    with safe_open(file, framework="pt") as saved:
        meaning = json.loads(saved.metadata()["ipo_dspy"])

    assert meaning["class_texts"] == {key: ["crisp"] for key in COLOURS}
