import asyncio
import copy
import json
import math
from pathlib import Path

import dspy
import PIL.Image
import pytest
import torch

from ipo_dspy import CLIPClassifier, clip_prob, read_folder
from ipo_dspy.demo.encoder import load_demo_model
from ipo_dspy.encoders.dual_encoder import frozen
from ipo_dspy.encoders.open_clip import OpenCLIPEncoder
from ipo_dspy.errors import DataError
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples

GOOD = "a crisp flat <CLASS>"
DATA = Path(__file__).parent / "data"
RED = PIL.Image.new("RGB", (8, 8), COLOURS["red"])


@pytest.fixture
def program() -> CLIPClassifier:
    return CLIPClassifier(list(COLOURS), ColourEncoder(), GOOD)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("red", "navy_blue"):
        (tmp_path / name).mkdir()
        for number in range(4):
            colour = (200 + number, 10, 10) if name == "red" else (10, 10, 200 + number)
            PIL.Image.new("RGB", (8, 8), colour).save(tmp_path / name / f"{number}.png")
    return tmp_path


@pytest.mark.parametrize("kind", ["path", "text path", "PIL", "dspy.Image"])
def test_an_image_may_be_a_path_a_pil_image_or_a_dspy_image(
    program: CLIPClassifier, tmp_path: Path, kind: str
) -> None:
    RED.save(tmp_path / "x.png")
    image = {
        "path": tmp_path / "x.png",
        "text path": str(tmp_path / "x.png"),
        "PIL": RED,
        "dspy.Image": dspy.Image(RED),
    }[kind]
    assert program(image=image).label == "red"


def test_the_best_classes_come_with_their_probabilities() -> None:
    program = CLIPClassifier(list(COLOURS), ColourEncoder(), GOOD, top_k=3)
    prediction = program(image=RED)
    assert len(prediction.scores) == 3
    assert list(prediction.scores.values()) == sorted(prediction.scores.values(), reverse=True)
    assert prediction.label == next(iter(prediction.scores))
    assert list(prediction.keys())[-1] == "label"


def test_a_batch_gives_what_single_and_async_calls_give(program: CLIPClassifier) -> None:
    images = [example.image for example in colour_examples(2)]
    single = [program(image=image) for image in images]
    for one, other in zip(program.predict_batch(images), single, strict=True):
        assert one.label == other.label
        assert one.scores == pytest.approx(other.scores, abs=1e-6)
    assert asyncio.run(program.acall(image=images[0])).toDict() == single[0].toDict()
    assert program.predict_batch([]) == []


def test_no_language_model_is_called(program: CLIPClassifier) -> None:
    assert dspy.settings.lm is None
    assert program(image=RED).label == "red"


def test_a_program_of_a_folder_brings_its_images(folder: Path) -> None:
    program = CLIPClassifier.from_folder(folder, ColourEncoder(), GOOD)
    assert len(program.trainset or []) == 8
    assert {example.label for example in program.trainset or []} == set(program.classnames)
    assert program.template.text == GOOD


def test_shots_are_drawn_by_seed(folder: Path) -> None:
    drawn = [
        CLIPClassifier.from_folder(folder, ColourEncoder(), shots=1, seed=seed).trainset
        for seed in (1, 1, 2, 3, 4)
    ]
    assert [len(examples or []) for examples in drawn] == [2] * 5
    assert drawn[0] == drawn[1]
    assert len({str(examples) for examples in drawn}) > 1


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        CLIPClassifier.from_folder(tmp_path / "nowhere", ColourEncoder())


def test_a_program_without_a_folder_has_no_training_set(program: CLIPClassifier) -> None:
    assert program.trainset is None


def test_copies_share_encoder_and_images_but_not_the_template(folder: Path) -> None:
    program = CLIPClassifier.from_folder(folder, ColourEncoder(), GOOD)
    for copied in (program.deepcopy(), copy.deepcopy(program), program.reset_copy()):
        assert copied.embedder is program.embedder
        assert copied.data is program.data
        copied.predict.signature = copied.predict.signature.with_instructions("a <CLASS>")
        assert program.template.text == GOOD


def test_what_is_saved_is_small_json_without_weights_and_images(
    folder: Path, tmp_path: Path
) -> None:
    program = CLIPClassifier.from_folder(folder, ColourEncoder(), GOOD)
    program.save(tmp_path / "program.json")
    saved = json.loads((tmp_path / "program.json").read_text())
    assert saved["predict"]["clip"]["encoder"] == program.embedder.encoder.spec
    assert saved["predict"]["clip"]["classnames"] == list(program.classnames)
    assert (tmp_path / "program.json").stat().st_size < 2048


def test_a_saved_program_classifies_as_before(program: CLIPClassifier, tmp_path: Path) -> None:
    program.save(tmp_path / "program.json")
    images = [example.image for example in colour_examples(2)]
    expected = [prediction.toDict() for prediction in program.predict_batch(images)]
    by_file = CLIPClassifier.from_file(tmp_path / "program.json", ColourEncoder())
    by_load = CLIPClassifier(["x"], ColourEncoder())
    by_load.load(tmp_path / "program.json")
    for loaded in (by_file, by_load):
        assert [prediction.toDict() for prediction in loaded.predict_batch(images)] == expected


def test_a_saved_program_brings_its_encoder_back(tmp_path: Path) -> None:
    CLIPClassifier(["red", "blue"]).save(tmp_path / "program.json")
    loaded = CLIPClassifier.from_file(tmp_path / "program.json")
    assert loaded.embedder.encoder.spec == "demo"
    assert loaded(image=RED).label in ("red", "blue")


def test_a_file_of_another_program_is_refused(tmp_path: Path) -> None:
    dspy.Predict("question -> answer").save(tmp_path / "other.json")
    with pytest.raises(ValueError, match="is no saved CLIPClassifier"):
        CLIPClassifier.from_file(tmp_path / "other.json")


@pytest.mark.parametrize("content", ["no JSON", "[]", '{"predict": []}'])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "other.json").write_text(content)
    with pytest.raises(ValueError, match="is no saved CLIPClassifier"):
        CLIPClassifier.from_file(tmp_path / "other.json")


def test_labelled_images_bring_class_names_and_training_set(folder: Path) -> None:
    images = read_folder(folder)
    program = CLIPClassifier.from_images(images, ColourEncoder(), GOOD)
    assert program.classnames == images.classnames
    assert program.trainset == list(images.examples)
    assert program.template.text == GOOD


@pytest.mark.parametrize(
    ("classnames", "complaint"),
    [
        ([], "at least one class name"),
        (["a", " "], "number 1 is empty"),
        (["a", "b", "a"], "'a' comes twice"),
        ("cat", "'cat'"),
    ],
)
def test_class_names_that_make_no_sense_are_refused(
    classnames: list[str] | str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        CLIPClassifier(classnames, ColourEncoder())


def test_strange_class_names_survive_classifying_and_saving(tmp_path: Path) -> None:
    names = ["{}", "<CLASS>", "a_b", "日本 🐈", "word " * 60, '"quoted" \\1']
    program = CLIPClassifier(names, ColourEncoder(context_length=80))
    program.save(tmp_path / "program.json")
    loaded = CLIPClassifier.from_file(tmp_path / "program.json", ColourEncoder(context_length=80))
    assert loaded.classnames == tuple(names)
    assert loaded(image=RED).toDict() == program(image=RED).toDict()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "demos"])
def test_a_program_saved_by_version_0_1_predicts_as_it_did(kind: str) -> None:
    """The files were written by the code of 0.1, with what it predicted of these pictures.

    The demo encoder has learned its logit scale since; here it has the one of then.
    """
    model, preprocess, tokenizer = load_demo_model()
    with torch.no_grad():
        model.logit_scale.fill_(math.log(10))
    encoder = OpenCLIPEncoder(
        "demo", frozen(model, "cpu"), preprocess, tokenizer, device="cpu", precision="float32"
    )
    said = json.loads((DATA / "program_0_1_scores.json").read_text())[kind]
    name = {"plain": "program_0_1.json", "demos": "program_0_1_demos.json"}[kind]
    examples = colour_examples(2, size=16)
    by_load = CLIPClassifier(["x"], encoder)
    by_load.load(DATA / name)
    for loaded in (CLIPClassifier.from_file(DATA / name, encoder), by_load):
        found = loaded.predict_batch([example.image for example in examples])
        assert [prediction.label for prediction in found] == said["labels"]
        for prediction, scores in zip(found, said["scores"], strict=True):
            assert prediction.scores == pytest.approx(scores, rel=1e-4)
        probabilities = [clip_prob(e, p) for e, p in zip(examples, found, strict=True)]
        assert probabilities == pytest.approx(said["clip_prob"], rel=1e-4)
