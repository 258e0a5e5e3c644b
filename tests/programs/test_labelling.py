from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
import pytest
from PIL import Image

from ipo_dspy import ArgumentError, CLIPClassifier, find_images, label_images
from ipo_dspy.programs import labelling
from ipo_dspy.testing import COLOURS, ColourEncoder

NAMES = tuple(COLOURS)


@pytest.fixture
def program() -> CLIPClassifier:
    return CLIPClassifier(NAMES, ColourEncoder(), "a crisp flat <CLASS>")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """An image of each colour, named after it."""
    found = []
    for name, colour in COLOURS.items():
        file = tmp_path / f"{name}.png"
        Image.new("RGB", (8, 8), colour).save(file)
        found.append(file)
    return found


def test_images_get_the_labels_and_probabilities_of_the_program(
    program: CLIPClassifier, files: list[Path]
) -> None:
    for labelled, file in zip(label_images(program, files, top_k=2), files, strict=True):
        one = program(image=file)
        assert labelled.image == file
        assert labelled.label == one.label == file.stem
        assert dict(labelled.guesses) == pytest.approx(dict(list(one.scores.items())[:2]))


def test_results_do_not_depend_on_how_many_are_done_at_once(
    program: CLIPClassifier, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = list(label_images(program, files))
    monkeypatch.setattr(labelling, "IMAGES_AT_ONCE", 2)
    assert list(label_images(program, files)) == at_once


def test_images_that_cannot_be_read_come_in_their_place_with_the_reason(
    program: CLIPClassifier, files: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    gone = tmp_path / "gone.png"
    first, second, third, fourth = label_images(program, [files[0], bad, gone, files[1]])
    assert (first.label, fourth.label) == (files[0].stem, files[1].stem)
    assert second.label is None
    assert second.guesses == third.guesses == ()
    assert "bad.png" in second.error
    assert "gone.png" in third.error


def test_what_was_found_can_be_labelled_as_it_is(
    program: CLIPClassifier, files: list[Path]
) -> None:
    found = find_images(files[0].parent)
    labels = [each.label for each in label_images(program, found)]
    assert labels == [file.stem for file in found.files]


def test_nothing_but_images_that_cannot_be_read_is_no_failure(
    program: CLIPClassifier, tmp_path: Path
) -> None:
    [only] = label_images(program, [tmp_path / "gone.png"])
    assert only.error


def test_a_label_below_the_threshold_is_left_empty_and_its_guesses_stay(
    program: CLIPClassifier, files: list[Path]
) -> None:
    [certain] = label_images(program, files[:1], threshold=0.0)
    assert certain.probability is not None
    [unsure] = label_images(program, files[:1], threshold=min(1.0, certain.probability + 1e-6))
    assert unsure.label is None
    assert unsure.guesses == certain.guesses


def test_a_module_around_a_classifier_labels_too(
    program: CLIPClassifier, files: list[Path]
) -> None:
    class Around(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = program

        def forward(self, image: Any) -> dspy.Prediction:
            return self.inner(image=image)

        def predict_batch(self, images: Sequence[Any]) -> list[dspy.Prediction]:
            return self.inner.predict_batch(images)

    assert [each.label for each in label_images(Around(), files)] == [f.stem for f in files]


@pytest.mark.parametrize(
    "wrong",
    [
        *({"images": wrong} for wrong in ("photos", Path("photos"), None, iter([]), {"a": 1})),
        *({"top_k": wrong} for wrong in (0, -1, 1.5, 2.0, True, None, "3", float("nan"))),
        *({"threshold": wrong} for wrong in (2, -0.1, True, None, "0.5", float("nan"), [0.5])),
        {"program": dspy.Predict("question -> answer")},
    ],
)
def test_wrong_arguments_are_told_at_once(
    program: CLIPClassifier, files: list[Path], wrong: dict[str, Any]
) -> None:
    with pytest.raises(ArgumentError, match=None if "program" in wrong else next(iter(wrong))):
        label_images(**{"program": program, "images": files, **wrong})
