import re
from html import unescape
from pathlib import Path

import dspy
import pytest

from ipo_dspy import CLIPClassifier, CoOp, IPOOptimizer, LabeledImages, LiveReport, write_report
from ipo_dspy.errors import ArgumentError, SearchStoppedError, StorageError
from ipo_dspy.images.labeled import LeftOut
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

NAMES = tuple(COLOURS)
GOOD = "a crisp flat <CLASS>"


def text_of(file: Path) -> str:
    body = re.sub(r"<(style|script)>.*?</\1>", "", file.read_text("utf-8"), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def classifier(template: str | None = None) -> CLIPClassifier:
    return CLIPClassifier(NAMES, ColourEncoder(), template)


def search(**settings: object) -> CLIPClassifier:
    optimizer = IPOOptimizer(
        prompt_model=scripted_lm([GOOD, "a crisp <CLASS>", "no slot"]),
        describer="none",
        steps=2,
        prompts_per_step=2,
        seed=17,
        **settings,
    )
    return optimizer.compile(classifier(), trainset=colour_examples(2))


def test_a_found_program_tells_how_it_was_found_and_how_good_it_is(tmp_path: Path) -> None:
    tests = LabeledImages(tuple(colour_examples(3)), NAMES)
    file = write_report(search(), tmp_path / "r" / "report.html", tests, title="Colours")

    text = text_of(file)
    assert text.startswith("Colours Colours a crisp flat")
    assert "held-out images (18)" in text
    assert "prompt model scripted/model" in text
    assert "seed 17" in text
    assert "Prompts, best first" in text
    assert re.search("[1-9] invalid", text)
    for line in ("open_clip.build_zero_shot_classifier(", 'hypothesis_template="a crisp flat {}"'):
        assert line in text


def test_a_classifier_without_a_search_is_compared_with_the_usual_template(tmp_path: Path) -> None:
    tests = LabeledImages(tuple(colour_examples(2)), NAMES)
    text = text_of(write_report(classifier(GOOD), tmp_path / "report.html", tests))

    assert "a photo of a <CLASS>." in text
    assert "How the search went" not in text


def test_several_sets_are_told_by_their_names(tmp_path: Path) -> None:
    sets = {"day": colour_examples(1), "night": colour_examples(2)}
    text = text_of(write_report(classifier(GOOD), tmp_path / "report.html", sets))
    assert "day (6)" in text
    assert "night (12)" in text


def test_what_was_left_out_of_the_programs_own_images_is_counted(tmp_path: Path) -> None:
    examples = colour_examples(1)
    left_out = (LeftOut(Path("a.txt"), ".txt"), LeftOut(Path("b.txt"), ".txt"))
    images = LabeledImages((*examples, examples[0]), NAMES, left_out)
    program = CLIPClassifier.from_images(images, ColourEncoder())
    text = text_of(write_report(program, tmp_path / "report.html"))

    assert "7 of 6 classes" in text
    assert "files left out 2 .txt" in text
    assert "copies among them 1" in text


class Capital(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.answer = dspy.Predict("question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(question=question)


def test_a_program_of_a_language_model_has_a_report_too(tmp_path: Path) -> None:
    def answer(number: int, request: str) -> str:
        asked = request.rpartition("[[ ## question ## ]]")[2]
        return "Paris" if "France" in asked and "briefly" in request else "Rome"

    first, found = Capital(), Capital()
    found.answer.signature = found.answer.signature.with_instructions("Answer <b>briefly</b>.")
    examples = [
        dspy.Example(question=f"the capital of {country}?", answer=city).with_inputs("question")
        for country, city in (("France", "Paris"), ("Italy", "Rome"))
    ]

    def exact(example: dspy.Example, prediction: dspy.Prediction, trace: object = None) -> bool:
        return example.answer == prediction.answer

    with dspy.context(lm=scripted_lm(answer, field="answer")):
        file = write_report(found, tmp_path / "r.html", examples, before=first, metric=exact)

    text = text_of(file)
    assert "Answer <b>briefly</b>." in text
    assert "question: the capital of France? Paris first: Rome found: Paris" in text


def test_another_program_needs_the_one_it_is_compared_with(tmp_path: Path) -> None:
    example = dspy.Example(question="?", answer="!").with_inputs("question")
    with pytest.raises(ArgumentError, match="before="):
        write_report(Capital(), tmp_path / "r.html", [example])


def test_a_place_that_cannot_be_written_is_told_before_anything_is_run(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        write_report(classifier(), tmp_path, colour_examples(1))


@pytest.mark.slow
def test_learned_vectors_are_told_and_no_lines_that_would_leave_them_out(tmp_path: Path) -> None:
    examples = colour_examples(1, size=32)
    student = CLIPClassifier(NAMES, "demo")
    program = CoOp(epochs=1, progress=False).compile(student, trainset=examples)
    text = text_of(write_report(program, tmp_path / "r.html"))

    assert "vector 1: " in text
    assert "open_clip.build" not in text


@pytest.mark.slow
def test_a_page_follows_a_search_and_ends_with_it(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    pages = []
    with LiveReport(file, steps=2) as page:
        pages.append(file.read_text())

        def follow(trial: object, spent: object) -> None:
            page._due_at = 0.0
            page(trial, spent)
            pages.append(file.read_text())

        search(on_trial=follow)

    assert all('http-equiv="refresh"' in html for html in pages)
    assert "step 2 of 2" in pages[-1]
    assert 'http-equiv="refresh"' not in file.read_text()
    assert "a crisp flat" in text_of(file)


def test_a_page_of_a_search_that_was_stopped_says_why(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    with pytest.raises(SearchStoppedError), LiveReport(file):
        raise SearchStoppedError("the <key> is wrong")
    assert "The search was stopped: the <key> is wrong" in text_of(file)
    assert 'http-equiv="refresh"' not in file.read_text()


def test_what_is_written_meanwhile_is_the_last_word(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    with LiveReport(file) as page:
        search(on_trial=page)
        write_report(classifier(GOOD), file)
    assert "CLIPClassifier" in text_of(file)


def test_a_report_of_another_time_stays_until_there_is_something_to_show(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("from another time")
    with pytest.raises(ArgumentError), LiveReport(file):
        raise ArgumentError("another run's folder")
    assert file.read_text() == "from another time"


def test_a_page_that_cannot_be_written_ends_no_search(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with LiveReport(tmp_path / "file" / "report.html") as page:
        assert search(on_trial=page).template.text == GOOD
    warnings = [r for r in caplog.records if "not drawn" in r.getMessage()]
    assert len(warnings) == 1
