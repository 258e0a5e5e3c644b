import base64
from io import BytesIO
from pathlib import Path

import dspy
from PIL import Image

from ipo_dspy.exports.photographs import (
    changes,
    confusions,
    described,
    label_text,
)
from ipo_dspy.images.shown import thumbnail
from ipo_dspy.records import Score
from ipo_dspy.scoring.comparison import Comparison, Evaluation

NAMES = ("cat", "dog", "owl")


def picture(name: str) -> Image.Image:
    return Image.new("RGB", (40, 20), {"cat": "red", "dog": "green", "owl": "blue"}[name])


def compared(labels: str, first: str, found: str) -> Comparison:
    """Images of the classes, and what two prompts find, each by the first letters of the names."""
    names = {name[0]: name for name in NAMES}
    examples = tuple(
        dspy.Example(image=picture(names[a]), label=names[a]).with_inputs("image") for a in labels
    )
    score = Score(accuracy=0, loss=0, n=len(labels))
    sides = [
        Evaluation(
            text,
            score,
            tuple(a == b for a, b in zip(labels, guesses, strict=True)),
            guesses=tuple(names[b] for b in guesses),
        )
        for text, guesses in (("first", first), ("found", found))
    ]
    return Comparison("held-out images", *sides, examples=examples)


def test_images_that_became_right_and_those_that_became_wrong_come_with_both_labels() -> None:
    better, worse = changes(compared("cdoc", "dddc", "cdoo"))

    assert (better.is_better, better.total) == (True, 2)
    assert [(one.label, one.before, one.after) for one in better.shown] == [
        ("cat", "dog", "cat"),
        ("owl", "dog", "owl"),
    ]
    assert (worse.is_better, worse.total) == (False, 1)
    assert [(one.label, one.before, one.after) for one in worse.shown] == [("cat", "cat", "owl")]


def test_few_of_many_show_every_class() -> None:
    better, _ = changes(compared("ccccdo", "dddooc", "ccccdo"), most=3)

    assert better.total == 6
    assert [one.label for one in better.shown] == ["cat", "dog", "owl"]


def test_pictures_are_small_and_are_those_of_the_images() -> None:
    [one] = changes(compared("o", "c", "o"))[0].shown

    kind, _, content = one.picture.partition(",")
    assert kind == "data:image/jpeg;base64"
    image = Image.open(BytesIO(base64.b64decode(content)))
    red, green, blue = image.getpixel((5, 5))
    assert (image.size, blue > 200, red < 50, green < 50) == ((40, 20), True, True, True)
    assert max(Image.open(_bytes(thumbnail(Image.new("RGB", (4000, 100))))).size) <= 160


def _bytes(address: str) -> BytesIO:
    return BytesIO(base64.b64decode(address.partition(",")[2]))


def test_an_image_that_is_gone_has_no_picture(tmp_path: Path) -> None:
    assert thumbnail(tmp_path / "gone.png") == ""


def test_the_pairs_that_are_confused_most_come_first_with_what_they_were_before() -> None:
    pairs = confusions(compared("cccddo", "ddcddo", "dddcco"))

    assert [tuple(pair) for pair in pairs] == [("cat", "dog", 3, 2), ("dog", "cat", 2, 0)]


def test_without_what_was_found_nothing_is_shown() -> None:
    score = Score(accuracy=50, loss=1, n=2)
    side = Evaluation("a", score, (True, False))
    assert changes(Comparison("x", side, side)) == []
    assert confusions(Comparison("x", side, side)) == []


def test_descriptions_of_very_many_images_are_spread_over_them() -> None:
    images = [picture("cat")] * 100
    shown = described(images, [f"text {number}" for number in range(100)])

    assert len(shown) <= 12
    assert (shown[0].text, shown[-1].text) == ("text 0", "text 99")


def test_other_programs_are_labelled_by_the_last_field_that_is_no_input() -> None:
    example = dspy.Example(question="1+1", reasoning="count", answer="2").with_inputs("question")
    assert label_text(example) == "2"
