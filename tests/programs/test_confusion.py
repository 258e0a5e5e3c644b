"""Which classes a template confuses."""

from __future__ import annotations

import dspy
import pytest

from ipo_dspy import CLIPClassifier
from ipo_dspy.programs.confusion import confused_classes
from ipo_dspy.programs.predict import ZeroShotPredict
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples


@pytest.fixture
def predictor() -> ZeroShotPredict:
    # Without good words, each colour's text is mixed with the next colour.
    return CLIPClassifier(list(COLOURS), ColourEncoder()).predict


def test_images_say_that_a_colour_is_taken_for_the_one_before(predictor: ZeroShotPredict) -> None:
    confused = confused_classes(predictor, predictor.classnames, colour_examples())

    names = list(COLOURS)
    assert {name: taken[0] for name, taken in confused.items()} == {
        name: names[place - 1] for place, name in enumerate(names)
    }


def test_the_class_whose_images_are_least_probable_comes_first(predictor: ZeroShotPredict) -> None:
    wrong = dspy.Example(image=colour_examples()[0].image, label="white").with_inputs("image")

    first, *_ = confused_classes(predictor, predictor.classnames, [*colour_examples(), wrong])

    assert first == "white"


def test_classes_without_images_come_last(predictor: ZeroShotPredict) -> None:
    some = [example for example in colour_examples() if example.label in ("blue", "black")]

    order = list(confused_classes(predictor, predictor.classnames, some))

    assert set(order[:2]) == {"blue", "black"}
    assert sorted(order) == sorted(COLOURS)


def test_without_images_the_texts_alone_tell(predictor: ZeroShotPredict) -> None:
    confused = confused_classes(predictor, ["red", "green", "white"])

    # "red" is mixed with green, so the two are nearest.
    assert confused["red"][0] == "green"
    assert all(name not in taken for name, taken in confused.items())


def test_one_class_alone_is_confused_with_none(predictor: ZeroShotPredict) -> None:
    assert confused_classes(predictor, ["red"]) == {"red": ()}
