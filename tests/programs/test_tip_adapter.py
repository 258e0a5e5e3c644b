import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
import torch

from ipo_dspy import CLIPClassifier, IPOOptimizer, clip_acc
from ipo_dspy.images import ImageFile, open_image
from ipo_dspy.images.image import DatasetImage
from ipo_dspy.programs.tip_adapter import (
    ImageVectorizer,
    TipAdapter,
    image_in,
    loaded_demos,
    saved_demos,
)
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

NAMES = list(COLOURS)
STRONG = TipAdapter(weight=50.0)


@pytest.fixture
def examples() -> list[dspy.Example]:
    return colour_examples(2)


@pytest.fixture
def program() -> CLIPClassifier:
    """Right about nothing by its template alone."""
    return CLIPClassifier(NAMES, ColourEncoder(), demo_cache=STRONG)


def accuracy(program: dspy.Module, examples: list[dspy.Example]) -> float:
    return float(dspy.Evaluate(devset=examples, metric=clip_acc, num_threads=1)(program).score)


def test_each_demo_adds_to_its_class_what_the_formula_says() -> None:
    images = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    demos = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    classes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    added = TipAdapter(weight=2.0, sharpness=3.0).logits(images, demos, classes)
    e = torch.tensor
    expected = [
        [2.0 * 2 * 1.0, 2.0 * float(torch.exp(e(-3.0)))],
        [2.0 * 2 * float(torch.exp(e(-3.0 * 0.4))), 2.0 * float(torch.exp(e(-3.0 * 0.2)))],
    ]
    assert torch.allclose(added, torch.tensor(expected))


@pytest.mark.parametrize("setting", ["weight", "sharpness"])
def test_settings_must_be_above_0(setting: str) -> None:
    with pytest.raises(ValueError, match=f"{setting} must be .*above 0, got 0"):
        TipAdapter(**{setting: 0.0})


def test_demos_have_no_effect_unless_the_user_asks(examples: list[dspy.Example]) -> None:
    program = CLIPClassifier(NAMES, ColourEncoder())
    best = dspy.LabeledFewShot(k=12).compile(program, trainset=examples)
    assert len(best.predict.demos) == 12
    images = [example.image for example in examples]
    assert best.predict_batch(images) == program.predict_batch(images)


def test_labeled_few_shot_fills_the_cache(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    best = dspy.LabeledFewShot(k=12).compile(program, trainset=examples)
    assert accuracy(program, examples) == 0.0
    assert accuracy(best, examples) == 100.0


def test_bootstrap_few_shot_fills_the_cache(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    best = dspy.BootstrapFewShot(metric=clip_acc, max_labeled_demos=12).compile(
        program, trainset=examples
    )
    assert accuracy(best, examples) > 80.0


def test_knn_few_shot_fills_the_cache_for_each_picture(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    knn = dspy.KNNFewShot(
        k=1, trainset=examples, vectorizer=ImageVectorizer(program.embedder), metric=clip_acc
    )
    assert accuracy(knn.compile(program), examples) == 100.0


def test_a_search_scores_prompts_with_the_cache(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    student = dspy.LabeledFewShot(k=12).compile(program, trainset=examples)
    optimizer = IPOOptimizer(clip_acc, prompt_model=scripted_lm(["a dim <CLASS>."]), steps=1)
    best = optimizer.compile(student, trainset=examples)
    assert best.score == 100.0
    assert len(best.predict.demos) == 12


def test_one_call_and_a_batch_give_the_same(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    best = dspy.LabeledFewShot(k=12).compile(program, trainset=examples)
    images = [example.image for example in examples]
    assert [best(image=image) for image in images] == best.predict_batch(images)


def test_demos_may_be_given_with_a_call(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    assert program.predict(image=examples[0].image, demos=examples).label == "red"
    assert program.predict(image=examples[0].image).label != "red"


def test_demos_survive_saving_with_their_pictures(
    program: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path
) -> None:
    files = []
    for number, example in enumerate(examples):
        open_image(example.image).save(tmp_path / f"{number}.png")
        file = ImageFile(tmp_path / f"{number}.png")
        files.append(dspy.Example(image=file, label=example.label).with_inputs("image"))
    mixed = [*files[:6], *examples[6:]]
    best = dspy.LabeledFewShot(k=12).compile(program, trainset=mixed)
    best.save(tmp_path / "program.json")
    saved = json.loads((tmp_path / "program.json").read_text())["predict"]["demos"]
    loaded = CLIPClassifier.from_file(tmp_path / "program.json", clip=program.embedder)
    images = [example.image for example in examples]
    assert sum(demo["image"].startswith("file://") for demo in saved) == 6
    assert sum(demo["image"].startswith("data:") for demo in saved) == 6
    assert loaded.predict.demo_cache == STRONG
    assert loaded.predict_batch(images) == best.predict_batch(images)


def test_a_demo_whose_file_is_gone_is_an_error_not_another_answer(
    program: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path
) -> None:
    program.predict.demos = [dspy.Example(image=ImageFile(tmp_path / "gone.png"), label="red")]
    with pytest.raises(Exception, match=r"gone\.png"):
        program(image=examples[0].image)


def test_demos_without_image_or_with_other_labels_are_left_out(
    program: CLIPClassifier, examples: list[dspy.Example], caplog: pytest.LogCaptureFixture
) -> None:
    cut = f"{str(examples[1].image)[:60]}\n\t\t... <TRUNCATED FOR BREVITY>"
    program.predict.demos = [
        examples[0],
        dspy.Example(image=cut, label="red"),
        dspy.Example(label="red"),
        dspy.Example(image=examples[2].image, label="purple"),
    ]
    for _ in range(3):
        assert program(image=examples[0].image).label == "red"
    assert [r.message for r in caplog.records if "left out" in r.message] == [
        "3 of 4 demos are left out of the cache: they have no whole 'image' or no 'label' among "
        "the class names."
    ]


def _as_path(picture: Any, tmp_path: Path) -> Any:
    picture.save(tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


@pytest.mark.parametrize(
    "made",
    [
        lambda picture, tmp_path: picture,
        lambda picture, tmp_path: dspy.Image(picture),
        lambda picture, tmp_path: str(dspy.Image(picture)),
        lambda picture, tmp_path: _as_path(picture, tmp_path),
        lambda picture, tmp_path: Path(_as_path(picture, tmp_path)),
        lambda picture, tmp_path: ImageFile(_as_path(picture, tmp_path)),
        lambda picture, tmp_path: DatasetImage([{"image": picture}], 0, "image", "t"),
    ],
)
def test_pictures_of_any_kind_come_back_as_they_were(
    made: Callable[[Any, Path], Any], examples: list[dspy.Example], tmp_path: Path
) -> None:
    picture = open_image(examples[4].image)
    demo = dspy.Example(image=made(picture, tmp_path), label="blue")
    saved = json.loads(json.dumps(saved_demos([demo], "image", "label")))
    [loaded] = loaded_demos(saved, "image")
    assert loaded.label == "blue"
    assert open_image(loaded.image).tobytes() == picture.tobytes()


def test_a_text_that_is_cut_holds_no_image(examples: list[dspy.Example]) -> None:
    assert image_in(str(examples[0].image)[:50]) is None
    assert image_in("two\nlines") is None
    assert image_in(None) is None


def test_the_vectorizer_encodes_the_pictures_in_texts(examples: list[dspy.Example]) -> None:
    program = CLIPClassifier(NAMES, ColourEncoder())
    vectors = ImageVectorizer(program.embedder)([f"image: {e.image}" for e in examples])
    expected = program.embedder.image_features([e.image for e in examples])
    assert torch.equal(torch.from_numpy(vectors), expected)


def test_the_vectorizer_says_what_it_needs() -> None:
    vectorizer = ImageVectorizer(CLIPClassifier(NAMES, ColourEncoder()).embedder)
    with pytest.raises(ValueError, match=r"Expected an input that is a dspy\.Image, got 'q: no'"):
        vectorizer(["q: no"])
