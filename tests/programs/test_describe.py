"""The second predictor of a classifier: its instruction says how to describe a class."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import cloudpickle
import dspy
import orjson
import pytest

from ipo_dspy import ArgumentError, CLIPClassifier, clip_acc
from ipo_dspy.programs.describe import DescribePredict
from ipo_dspy.runs.journal import NoJournal
from ipo_dspy.scoring.evaluate import BatchEvaluate
from ipo_dspy.scoring.scorers import make_scorer
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

GOOD, BAD = "Describe crisply.", "Describe vaguely."
TEMPLATE = "a photo of a <CLASS>."


def knowing_lm() -> dspy.LM:
    """Describes with the words that help where the instruction says how."""
    return scripted_lm(
        lambda number, request: "crisp and flat" if GOOD in request else "dull and dim",
        field="descriptions",
    )


def classifier(instruction: str = GOOD, **arguments: object) -> CLIPClassifier:
    program = CLIPClassifier(list(COLOURS), ColourEncoder(), TEMPLATE, describe=2, **arguments)
    instruct(program, instruction)
    return program


def instruct(program: CLIPClassifier, instruction: str) -> None:
    assert program.describe is not None
    program.describe.signature = program.describe.signature.with_instructions(instruction)


def accuracy(program: CLIPClassifier) -> float:
    evaluate = BatchEvaluate(devset=colour_examples(), metric=clip_acc, num_threads=2)
    return float(evaluate(program).score)


def test_the_instruction_decides_how_good_the_classifier_is() -> None:
    program = classifier(BAD)

    with dspy.context(lm=knowing_lm()):
        vague = accuracy(program)
        instruct(program, GOOD)
        crisp = accuracy(program)

    assert vague < crisp == 100.0
    assert program.class_texts["red"] == ("crisp and flat",)


def test_each_class_is_asked_for_once_by_all_copies_and_threads() -> None:
    lm, program = knowing_lm(), classifier()
    image = colour_examples()[0].image

    with dspy.context(lm=lm):
        dspy.Parallel(num_threads=4, disable_progress_bar=True)(
            [(program.deepcopy(), {"image": image}) for _ in range(8)]
        )
        accuracy(program.deepcopy())

    assert len(lm.engine.requests) == len(COLOURS)


def test_a_template_that_is_found_later_keeps_the_texts() -> None:
    lm, program = knowing_lm(), classifier()

    with dspy.context(lm=lm):
        accuracy(program)
        program.predict.signature = program.predict.signature.with_instructions("a <CLASS>")
        accuracy(program)

    assert len(lm.engine.requests) == len(COLOURS)


def test_the_language_model_is_told_what_a_class_is_confused_with() -> None:
    lm, program = knowing_lm(), classifier()

    with dspy.context(lm=lm):
        program.describe_classes()

    [red] = [text for text in lm.engine.requests if "## class_name ## ]]\nred" in text]
    assert '["green"' in red
    assert TEMPLATE in red


def test_a_saved_program_classifies_without_a_language_model(tmp_path: Path) -> None:
    program = classifier()
    with dspy.context(lm=knowing_lm()):
        expected = accuracy(program)
    program.save(tmp_path / "program.json")

    loaded = CLIPClassifier.from_file(tmp_path / "program.json", ColourEncoder())

    with dspy.context(lm=None):
        assert accuracy(loaded) == expected
    state = orjson.loads((tmp_path / "program.json").read_bytes())
    assert state["predict"]["clip"]["class_texts"]["red"] == ["crisp and flat"]
    assert state["describe"]["signature"]["instructions"] == GOOD
    assert loaded.describe is not None
    assert loaded.describe.count == 2


def test_texts_of_another_instruction_are_not_saved(tmp_path: Path) -> None:
    program = classifier()
    with dspy.context(lm=knowing_lm()):
        program.describe_classes()
    instruct(program, BAD)
    program.save(tmp_path / "program.json")

    loaded = CLIPClassifier.from_file(tmp_path / "program.json", ColourEncoder())

    assert loaded.class_texts == {}


def test_texts_of_ones_own_need_no_language_model(tmp_path: Path) -> None:
    texts = {name: ["crisp", "flat"] for name in COLOURS}
    program = CLIPClassifier(list(COLOURS), ColourEncoder(), class_texts=texts)
    plain = CLIPClassifier(list(COLOURS), ColourEncoder())
    program.save(tmp_path / "program.json")
    loaded = CLIPClassifier.from_file(tmp_path / "program.json", ColourEncoder())

    with dspy.context(lm=None):
        assert accuracy(plain) < accuracy(program) == accuracy(loaded)
    assert loaded.describe is None


def test_all_scorers_give_the_same_with_texts_of_ones_own() -> None:
    program = CLIPClassifier(
        list(COLOURS), ColourEncoder(), class_texts={"red": ["crisp"], "blue": ["flat"]}
    )
    scorer = make_scorer(program, "predict", colour_examples(), clip_acc)

    [score] = scorer.score([program.template.text])

    assert score.accuracy == pytest.approx(accuracy(program), abs=0.01)


def test_other_classes_get_texts_from_the_same_instruction() -> None:
    lm = knowing_lm()
    program = CLIPClassifier(["red", "green"], ColourEncoder(), describe=2)
    instruct(program, GOOD)

    with dspy.context(lm=lm):
        program.describe_classes()
        other = program.for_classes(["white", "black", "red"])
        other.describe_classes()

    assert other.class_texts["white"] == ("crisp and flat",)
    assert len(lm.engine.requests) == 4


def test_a_class_of_which_nothing_is_known_has_the_template_alone() -> None:
    program, plain = classifier(), CLIPClassifier(list(COLOURS), ColourEncoder(), TEMPLATE)

    with dspy.context(lm=scripted_lm(["none"], field="descriptions")):
        assert accuracy(program) == accuracy(plain)
    assert program.class_texts["red"] == ()


def test_an_answer_without_a_format_is_read_by_lines() -> None:
    program = classifier()

    with dspy.context(lm=scripted_lm(["crisp\nflat"], field=None)):
        program.describe_classes()

    assert program.class_texts["red"] == ("crisp", "flat")


def test_what_was_said_is_kept_when_a_later_call_fails() -> None:
    def answer(number: int, request: str) -> str:
        if number == 2:
            raise ConnectionError("gone")
        return "crisp"

    program = classifier()
    lm = scripted_lm(answer, field="descriptions")
    lm.num_retries = 0

    with dspy.context(lm=lm, num_threads=1):
        with pytest.raises(Exception, match="gone"):
            program.describe_classes()
        assert 2 <= len(program.class_texts) < len(COLOURS)
        program.describe_classes()

    assert len(program.class_texts) == len(COLOURS)


def test_an_optimizer_that_watches_sees_what_was_said_of_the_predicted_class() -> None:
    program = classifier()

    with dspy.context(lm=knowing_lm(), trace=[]):
        label = program(image=colour_examples()[0].image).label
        traced = [step for step in dspy.settings.trace if step[0] is program.describe]

    [(_, inputs, said)] = traced
    assert inputs["class_name"] == label
    assert said.descriptions == "crisp and flat"


def test_a_program_pickles_with_what_was_said() -> None:
    program = classifier()
    with dspy.context(lm=knowing_lm()):
        program.describe_classes()

    describe = pickle.loads(cloudpickle.dumps(program.describe))

    assert describe.known == program.class_texts


def test_a_description_that_is_too_long_for_the_encoder_is_left_out_whole() -> None:
    long = " ".join(["word"] * 20)
    encoder = ColourEncoder(context_length=16)
    program = CLIPClassifier(["red"], encoder, TEMPLATE, class_texts={"red": [long, "crisp"]})

    texts = program.predict.prompt().texts(program.embedder, "red")  # type: ignore[attr-defined]

    assert texts == ["a photo of a red.", "a photo of a red, crisp."]


def test_a_log_gives_back_what_was_said() -> None:
    log = NoJournal()
    log.append = log.events.append  # type: ignore[method-assign]
    first, second = classifier(), classifier()
    for program in (first, second):
        assert program.describe is not None
        program.describe.keep_in(log)
        with dspy.context(lm=knowing_lm() if program is first else None):
            program.describe_classes()

    assert second.class_texts == first.class_texts != {}


@pytest.mark.parametrize(
    "make",
    [
        lambda: DescribePredict(0),
        lambda: DescribePredict(2, dspy.Signature("class_name -> descriptions")),
        lambda: CLIPClassifier(["red"], ColourEncoder(), class_texts={"red": "crisp"}),
    ],
)
def test_what_cannot_describe_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ArgumentError):
        make()


def test_a_damaged_state_is_refused() -> None:
    program = classifier()
    state = program.dump_state()
    state["describe"]["count"] = "many"

    with pytest.raises(ArgumentError, match="count"):
        program.load_state(state)


def test_what_is_known_does_not_tell_whose_answer_came_first() -> None:
    first, second = DescribePredict(2), DescribePredict(2)
    first.use({"cup": ("with a handle",), "bowl": ("round",)})
    second.use({"bowl": ("round",), "cup": ("with a handle",)})
    assert list(first.known) == list(second.known)
