import re
from html.parser import HTMLParser
from pathlib import Path

from ipo_dspy import CLIPClassifier, IPOOptimizer, LabeledImages
from ipo_dspy.images.shown import cell, picture
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

EVIL = "<script>alert(1)</script>\u202e"
NAMES = tuple(COLOURS)


def tags(html: str) -> set[str]:
    found: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            found.add(tag)

    Reader().feed(html)
    return found


def test_images_are_shown_with_one_of_each_class() -> None:
    images = LabeledImages(tuple(colour_examples(3)), NAMES)
    html = images._repr_html_()

    assert html.count("<img") == len(NAMES)
    assert repr(images) == "LabeledImages(18 images of 6 classes)"
    assert repr(images) in html


def test_hostile_names_are_escaped() -> None:
    names = (EVIL[:-1], "b")
    program = CLIPClassifier(names, ColourEncoder(), "an <b>old</b> <CLASS>")
    for html in (program._repr_html_(), LabeledImages((), names)._repr_html_(), cell(EVIL)):
        assert "script" not in tags(html)
        assert "\u202e" not in html


def test_a_long_text_is_cut() -> None:
    assert len(cell("x" * 10_000)) < 400


def test_an_image_that_is_gone_is_said_to_be(tmp_path: Path) -> None:
    assert "unreadable" in picture(tmp_path / "gone.png")


def test_results_show_the_best_prompts_and_have_a_short_repr() -> None:
    optimizer = IPOOptimizer(
        prompt_model=scripted_lm(["a crisp flat <CLASS>", f"a {EVIL} <CLASS>"]),
        describer="none",
        steps=2,
        prompts_per_step=1,
    )
    program = optimizer.compile(CLIPClassifier(NAMES, ColourEncoder()), trainset=colour_examples(1))
    results = program.detailed_results

    assert "a crisp flat &lt;CLASS&gt;" in results._repr_html_()
    assert "script" not in tags(results._repr_html_())
    assert len(repr(results)) < 200
    assert re.match(
        r"CLIPClassifier\(6 classes, 'colours:.*', 'a crisp flat <CLASS>'\)", repr(program)
    )
