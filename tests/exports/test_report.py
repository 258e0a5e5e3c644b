import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import dspy
import pytest
from PIL import Image

from ipo_dspy import CLIPClassifier, CoOp, Score, Template, Trial
from ipo_dspy.demo.world import draw
from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Found
from ipo_dspy.exports.course import bests, curve, lineage, word_changes
from ipo_dspy.exports.photographs import described
from ipo_dspy.exports.report import Report, ReportExporter, per_class, render
from ipo_dspy.records import State
from ipo_dspy.runs.budget import Spent
from ipo_dspy.scoring.comparison import Comparison, Evaluation
from ipo_dspy.search.results import IPOResults
from ipo_dspy.testing import COLOURS, ColourEncoder, check_exporter

EVIL = "<script>alert('x')</script> & \"<CLASS>\""
VOID = {"meta", "circle", "polyline", "line", "br", "hr", "img", "input", "link"}


def ok(step: int, text: str, accuracy: float, loss: float) -> Trial:
    score = Score(accuracy=accuracy, loss=loss, n=10)
    return Trial(step=step, slot=0, text=text, state=State.OK, score=score)


def refused(step: int, text: str, reason: str) -> Trial:
    return Trial(step=step, slot=1, text=text, state=State.INVALID, reason=reason)


PROGRAM = CLIPClassifier(tuple(COLOURS), ColourEncoder())

TRIALS = (
    ok(0, "a photo of a <CLASS>.", 50.0, 2.0),
    ok(1, "a sketch of a <CLASS>.", 80.0, 1.5),
    refused(1, EVIL, "it has <b>two</b> slots"),
    ok(2, "a blur of a <CLASS>.", 60.0, 1.0),
    ok(3, "a bold sketch of the <CLASS>.", 80.0, 1.2),
)


RESULTS = IPOResults(TRIALS, TRIALS[-1], Spent(calls=4), "steps: 3 made")


def evaluation(text: str, accuracy: float, per_class: dict[str, float]) -> Evaluation:
    score = Score(accuracy=accuracy, loss=1.25, n=4, per_class=per_class)
    return Evaluation(Template(text), score, (True, False, True, accuracy > 60))


COMPARISON = Comparison(
    "held-out images",
    evaluation("a photo of a <CLASS>.", 50.0, {"cat": 100.0, "<i>dog</i>": 0.0, "owl": 50.0}),
    evaluation(
        "a bold sketch of the <CLASS>.", 75.0, {"cat": 50.0, "<i>dog</i>": 90.0, "owl": 50.0}
    ),
)


def report(spent: Spent | None = None, *, compared: bool = True) -> Report:
    results = replace(RESULTS, spent=spent or Spent(calls=4))
    return Report(
        title=f"A prompt for {EVIL}",
        results=results,
        comparisons=[COMPARISON] if compared else [],
        settings={"clip": EVIL},
        remarks=[EVIL],
    )


class Reader(HTMLParser):
    """Checks that tags are balanced; collects text, tags and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: list[str] = []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


def test_every_text_is_escaped_and_still_readable() -> None:
    page = Reader(render(report()))

    assert page.tags.count("script") == 1
    assert not {"b", "i"} & set(page.tags)
    for text in (EVIL, "it has <b>two</b> slots", "<i>dog</i>", "a bold sketch of the <CLASS>."):
        assert text in page.text


def test_the_page_needs_nothing_but_itself() -> None:
    page = Reader(render(report()))

    assert not {"link", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "style", "onload", "onclick"} & {name for name, _ in page.attributes}
    assert "url(" not in render(report())


def test_the_page_tells_what_was_found_and_how_good_it_is() -> None:
    text = Reader(render(report())).text

    assert "held-out images (4)" in text
    assert "a photo of a <CLASS>. 50.00 1.250" in text
    assert "a bold sketch of the <CLASS>. 75.00 1.250" in text
    assert "5 prompts: 4 ok, 1 invalid, 0 failed. 4 calls" in text
    assert " H " not in text


def test_unknown_tokens_and_cost_are_not_zero() -> None:
    assert "tokens: unknown; cost: unknown" in Reader(render(report())).text
    known = report(Spent(calls=4, tokens=12345, dollars=0.25))
    assert "tokens: 12,345; cost: 0.2500 dollars" in Reader(render(known)).text


def test_without_held_out_images_the_page_says_so() -> None:
    assert "No images were held out" in Reader(render(report(compared=False))).text


def test_bests_are_the_prompts_better_than_all_before_them() -> None:
    assert [trial.step for trial in bests(RESULTS)] == [0, 1, 3]


def test_the_lineage_shows_what_changed_from_best_to_best() -> None:
    changes = [change for _, change in lineage(RESULTS)]

    assert changes == [
        [("same", "a photo of a <CLASS>.")],
        [("same", "a"), ("gone", "photo"), ("new", "sketch"), ("same", "of a <CLASS>.")],
        [
            ("same", "a"),
            ("new", "bold"),
            ("same", "sketch of"),
            ("gone", "a"),
            ("new", "the"),
            ("same", "<CLASS>."),
        ],
    ]


@pytest.mark.parametrize(
    ("before", "after"), [("", "a b"), ("a b", ""), ("a b c", "c b a"), ("same", "same")]
)
def test_word_changes_lead_from_one_text_to_the_other(before: str, after: str) -> None:
    changes = word_changes(before, after)

    assert " ".join(words for kind, words in changes if kind != "new") == before
    assert " ".join(words for kind, words in changes if kind != "gone") == after


def test_the_curve_follows_the_best_prompt_so_far() -> None:
    accuracy = curve(RESULTS, "accuracy")

    assert (accuracy.lowest, accuracy.highest, accuracy.last_step) == (50.0, 80.0, 3)
    third = accuracy.width / 3
    points = [tuple(map(float, point.split(","))) for point in accuracy.line.split()]
    assert points[0] == (0.0, accuracy.height)
    assert points[1] == (round(third, 1), accuracy.height)
    assert points[2] == (round(third, 1), 0.0)
    assert points[-1] == (accuracy.width, 0.0)
    assert len(accuracy.dots) == 4


def test_a_curve_of_one_value_is_flat() -> None:
    flat = curve(replace(RESULTS, trials=TRIALS[:1]), "loss")
    assert {y for _, y in flat.dots} == {flat.height}


def test_classes_come_with_the_largest_gain_first() -> None:
    assert [(row.name, row.gain) for row in per_class(COMPARISON, 400)] == [
        ("<i>dog</i>", 90.0),
        ("owl", 0.0),
        ("cat", -50.0),
    ]


def test_the_file_is_written_as_utf_8(tmp_path: Path) -> None:
    ReportExporter().write(tmp_path / "report.html", Found(PROGRAM, report()))

    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.match(r"<!doctype html>\n<html lang=\"en\">", html)
    assert "dspy" in html


def test_the_report_keeps_the_promises_of_an_exporter(tmp_path: Path) -> None:
    check_exporter(ReportExporter(), Found(PROGRAM, report()), tmp_path)


def test_a_program_alone_has_no_report(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="run folder"):
        ReportExporter().write(tmp_path / "report.html", Found(PROGRAM))


def test_hidden_characters_reach_no_report_raw() -> None:
    html = render(replace(report(), title="x\x1b[31m\u202e\u200b", remarks=["\ufeffr\x9b"]))
    assert not {"\x1b", "\u202e", "\u200b", "\ufeff", "\x9b"} & set(html)
    assert r"x\x1b[31m\u202e\u200b" in html


@pytest.mark.slow
def test_learned_vectors_stand_beside_the_prompt_with_their_nearest_words(tmp_path: Path) -> None:
    names = ("cat", "boat")
    examples = [
        dspy.Example(image=draw(name, "chalk", seed=2), label=name).with_inputs("image")
        for name in names
    ]
    program = CoOp(epochs=1, progress=False).compile(
        CLIPClassifier(names, "demo"), trainset=examples
    )
    ReportExporter().write(tmp_path / "report.html", Found(program, report()))
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "vector 1: " in html
    assert "vector 1: " not in render(report())


@pytest.mark.slow
def test_a_report_stays_small_whatever_came() -> None:
    hostile = '&\u202e"<CLASS>' * 5_000
    noise = Image.effect_noise((600, 600), 100).convert("RGB")
    examples = tuple(
        dspy.Example(image=noise, label=f"{n}{hostile}").with_inputs("image") for n in range(300)
    )
    sides = [
        Evaluation(
            hostile,
            Score(
                accuracy=50.0, loss=1.0, n=300, per_class={f"{n}{hostile}": 1.0 for n in range(300)}
            ),
            tuple((n % 2 == 0) is right for n in range(300)),
            guesses=(hostile,) * 300,
        )
        for right in (True, False)
    ]
    comparisons = [Comparison(f"{n}{hostile}", *sides, examples=examples) for n in range(12)]
    trials = tuple(
        ok(step, f"{step} {hostile}", step / 100, 1.0)
        if step % 2
        else refused(step, hostile, hostile)
        for step in range(6_000)
    )
    page = render(
        Report(
            title=hostile,
            results=IPOResults(trials, trials[-1], Spent(), hostile),
            comparisons=comparisons,
            settings={f"{n}{hostile}": hostile for n in range(300)},
            remarks=[hostile] * 300,
            described=described([noise] * 300, [hostile] * 300),
            counts={f"{n}{hostile}": hostile for n in range(300)},
        ),
        learned=hostile,
    )
    assert len(page.encode()) < 5_000_000
