"""IPO with texts for each class: beside the found prompt, and with a search for the instruction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
import pytest

from ipo_dspy import ArgumentError, Budget, CLIPClassifier, IPOOptimizer, clip_acc
from ipo_dspy.scoring.evaluate import BatchEvaluate
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm


def student(**arguments: Any) -> CLIPClassifier:
    return CLIPClassifier(list(COLOURS), ColourEncoder(), **arguments)


def model() -> dspy.LM:
    """Describes well, and proposes templates of no use."""

    def answer(number: int, request: str) -> str:
        if "`descriptions`" in request and "## meta_prompt ##" not in request:
            field, text = "descriptions", "crisp and flat"
        else:
            field, text = "prompt", f"a photo number {number} of a <CLASS>."
        return f"[[ ## {field} ## ]]\n{text}\n\n[[ ## completed ## ]]"

    return scripted_lm(answer, field=None)


def optimizer(lm: dspy.LM, **settings: Any) -> IPOOptimizer:
    known = {"steps": 2, "prompts_per_step": 2, "describer": "none", "num_threads": 2}
    return IPOOptimizer(**{**known, "prompt_model": lm, **settings})


def accuracy(program: dspy.Module) -> float:
    evaluate = BatchEvaluate(devset=colour_examples(), metric=clip_acc, num_threads=1)
    return float(evaluate(program).score)


def test_the_described_program_stands_beside_the_one_found() -> None:
    lm = model()

    found = optimizer(lm, class_texts=2).compile(student(), trainset=colour_examples())

    described = found.detailed_results.described
    assert found.class_texts == {}
    assert accuracy(found) < accuracy(described) == 100.0
    assert described.template == found.template
    assert found.detailed_results.spent.calls == 4 + len(COLOURS) == len(lm.engine.requests)


def test_nobody_is_asked_where_nobody_wants_texts() -> None:
    found = optimizer(model()).compile(student(), trainset=colour_examples())

    assert found.detailed_results.described is None
    assert found.detailed_results.spent.calls == 4


def test_a_call_for_each_class_is_put_aside() -> None:
    lm = model()
    search = optimizer(lm, class_texts=2, steps=9, budget=Budget(calls=8))

    found = search.compile(student(), trainset=colour_examples())

    assert len(lm.engine.requests) == found.detailed_results.spent.calls == 8
    assert len(found.detailed_results.described.class_texts) == len(COLOURS)
    assert found.detailed_results.ended_by.startswith("calls")


def test_the_plan_counts_a_call_for_each_class() -> None:
    search = optimizer(model(), class_texts=2, classes_described=["pink", "red"])

    plan = search.plan(student(), trainset=colour_examples())

    assert plan.class_text_calls == len(COLOURS) + 1
    assert plan.class_text_tokens > 0
    assert plan.proposal_calls == 4


def test_novel_classes_are_described_in_the_same_run() -> None:
    lm = model()
    search = optimizer(lm, class_texts=2, classes_described=["pink"])

    found = search.compile(student(), trainset=colour_examples())
    calls = len(lm.engine.requests)
    novel = found.detailed_results.described.for_classes(["pink", "grey"])

    assert novel.class_texts["pink"] == ("crisp and flat",)
    assert novel.describe.lacking(["pink", "grey"]) == ["grey"]
    assert len(lm.engine.requests) == calls


def test_a_run_that_is_done_only_lacks_the_texts_when_they_are_asked_for_later(
    tmp_path: Path,
) -> None:
    lm = model()
    optimizer(lm, run_dir=tmp_path).compile(student(), trainset=colour_examples())
    calls = len(lm.engine.requests)

    for _ in range(2):
        again = optimizer(lm, run_dir=tmp_path, class_texts=2)
        found = again.compile(student(), trainset=colour_examples())

    assert len(lm.engine.requests) == calls + len(COLOURS)
    assert found.detailed_results.spent.calls == len(lm.engine.requests)
    assert found.detailed_results.described.class_texts["red"] == ("crisp and flat",)


def test_texts_are_for_classifiers() -> None:
    with pytest.raises(ArgumentError):
        optimizer(model(), class_texts=2).compile(
            dspy.Predict("question -> answer"),
            trainset=[dspy.Example(question="1?", answer="1").with_inputs("question")],
        )


def searching_lm() -> dspy.LM:
    """Describes well where the instruction says `crisply`, which its third proposal does."""
    proposals = iter(f"Describe {how}." for how in ("it", "vaguely", "crisply", "colours"))

    def answer(number: int, request: str) -> str:
        if "## meta_prompt ##" in request:
            return f"[[ ## prompt ## ]]\n{next(proposals)}\n\n[[ ## completed ## ]]"
        good = "Describe crisply." in request
        text = "crisp and flat" if good else "dull"
        return f"[[ ## descriptions ## ]]\n{text}\n\n[[ ## completed ## ]]"

    return scripted_lm(answer, field=None)


def test_the_instruction_that_describes_classes_is_searched_for(tmp_path: Path) -> None:
    lm = searching_lm()
    settings = {"predictors": ["describe"], "run_dir": tmp_path, "num_threads": 1}

    with dspy.context(lm=lm):
        found = optimizer(lm, **settings).compile(student(describe=2), trainset=colour_examples())
        calls = len(lm.engine.requests)
        again = optimizer(lm, **settings).compile(student(describe=2), trainset=colour_examples())

    for program in (found, again):
        assert program.describe.signature.instructions == "Describe crisply."
        assert program.score == 100.0
    with dspy.context(lm=None):
        # A resumed run has the texts from its journal.
        assert accuracy(again) == accuracy(found) == 100.0
    spent = found.detailed_results.spent
    assert (calls, spent.calls, spent.scoring_calls) == (34, 34, 30)
    assert len(lm.engine.requests) == calls


def test_what_the_program_is_asked_later_is_no_part_of_the_run(tmp_path: Path) -> None:
    lm = searching_lm()

    with dspy.context(lm=lm):
        found = optimizer(lm, predictors=["describe"], run_dir=tmp_path, num_threads=1).compile(
            student(describe=2), trainset=colour_examples()
        )
        other = found.for_classes(["pink"])
        other.describe_classes()

    assert other.class_texts["pink"] == ("crisp and flat",)


def test_a_predictor_that_is_not_there_is_refused() -> None:
    with pytest.raises(ArgumentError, match="describe"):
        optimizer(model(), predictors=["describe"]).compile(student(), trainset=colour_examples())


def test_the_plan_of_a_search_for_the_instruction_counts_all_classes_of_all_proposals() -> None:
    search = optimizer(model(), predictors=["describe"])

    plan = search.plan(student(describe=2), trainset=colour_examples())

    assert plan.scoring_calls == len(COLOURS) * (1 + 4)
