"""What of DSPy is relied on without its promise; says what a new version moved or changed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from ipo_dspy.testing import scripted_lm
from ipo_dspy.upstream import dspy_parts as parts

PACKAGE = Path(inspect.getfile(parts)).parents[1]
INNER = [
    *("clients", "evaluate", "teleprompt.gepa", "utils.callback", "utils.parallelizer"),
    *("adapters", "signatures.field", "predict", "primitives", "dsp"),
]
"""Paths inside DSPy; `dspy.lm15`, `dspy.teleprompt`, its exceptions and types are its face."""
TEXTS = [
    "[[ ##",
    "empty or null",
    "To fix:",
    "Given the fields",
    "Provider NOT",
    "Your output fiel",
]


def test_no_other_module_reaches_into_dspy() -> None:
    inner = "|".join(re.escape(path) for path in INNER)
    reach = re.compile(rf"^\s*(from dspy\.({inner})\b|import dspy\.({inner})\b)", re.MULTILINE)
    reaching = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if reach.search(text := path.read_text("utf-8")) or any(words in text for words in TEXTS)
    ]
    assert reaching == ["upstream/dspy_parts.py"]


def test_a_signature_without_instructions_is_known() -> None:
    assert parts.says_nothing(dspy.Signature("image -> label").instructions)
    assert not parts.says_nothing("a photo of a <CLASS>.")


def test_a_field_that_nobody_described_has_no_description() -> None:
    class Signature(dspy.Signature):
        bare: str = dspy.InputField()
        told: str = dspy.OutputField(desc="one word")

    fields = Signature.fields
    assert parts.description_of("bare", fields["bare"]) == ""
    assert parts.description_of("told", fields["told"]) == "one word"


class Numbered(dspy.Signature):
    """Count."""

    question: str = dspy.InputField()
    number: int = dspy.OutputField()
    scores: dict[str, float] = dspy.OutputField()


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter()])
def test_requests_are_written_in_the_known_form(adapter: Any) -> None:
    system, user = (
        message["content"] for message in adapter.format(Numbered, [], {"question": "how many?"})
    )
    for words in (parts.OUTPUT_FIELDS, parts.STRUCTURE, parts.OBJECTIVE, parts.NOTE, parts.SCHEMA):
        assert words in system
    assert (parts.JSON_OUTPUTS in system) == isinstance(adapter, dspy.JSONAdapter)
    listed = system.partition(parts.OUTPUT_FIELDS)[2].partition(parts.STRUCTURE)[0]
    assert [name for name, *_ in parts.FIELD_LINE.findall(listed)] == ["number", "scores"]
    assert parts.MARKER.findall(user) == ["question"]
    assert parts.RESPOND_WITH in user


def test_an_answer_in_the_known_form_is_parsed() -> None:
    answer = f"{parts.SECTION}label ## ]]\ncat\n\n{parts.COMPLETED}"
    assert dspy.ChatAdapter().parse(dspy.Signature("image -> label"), answer) == {"label": "cat"}


def test_an_empty_answer_is_told_from_others() -> None:
    lm = scripted_lm([""], field=None)
    ask = dspy.Predict("question -> answer")
    adapter = dspy.ChatAdapter(use_json_adapter_fallback=False)
    with dspy.context(lm=lm, adapter=adapter), pytest.raises(AdapterParseError) as caught:
        ask(question="?")
    assert parts.is_empty_answer(caught.value)
    assert not parts.is_empty_answer(ValueError("?"))


def test_what_a_model_said_can_be_forgotten() -> None:
    lm = scripted_lm(["one", "two"], field="answer")
    with dspy.context(lm=lm):
        ask = dspy.Predict("question -> answer")
        ask(question="1")
        ask(question="2")
    first, second = lm.history[-2:]
    parts.forget(first)
    assert first not in parts.GLOBAL_HISTORY
    assert any(entry is second for entry in parts.GLOBAL_HISTORY)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_steps_of_the_executor_have_names_that_stay(threads: int) -> None:
    seen: list[str] = []

    class Seen(parts.Executor):
        def run_parallel(self, function: Any, data: Any) -> list[Any]:
            seen.append("run_parallel")
            return super().run_parallel(function, data)

        def run_in_turn(self, function: Any, data: Any) -> list[Any]:
            seen.append("run_in_turn")
            return super().run_in_turn(function, data)

        def keep(self, results: list[Any], place: int, outcome: Any) -> None:
            seen.append("keep")
            super().keep(results, place, outcome)

        def report(self, bar: Any, results: Any, total: int) -> None:
            seen.append("report")
            super().report(bar, results, total)

    executor = Seen(num_threads=threads, disable_progress_bar=True)
    assert executor.execute(lambda item: item + 1, [1, 2]) == [2, 3]
    assert seen.count("keep") == seen.count("report") == 2
    assert seen[0] == ("run_in_turn" if threads == 1 else "run_parallel")


def test_rows_and_table_are_those_of_evaluate(capsys: pytest.CaptureFixture[str]) -> None:
    example = dspy.Example(question="1", answer="2").with_inputs("question")
    evaluate = dspy.Evaluate(devset=[example], metric=lambda *_: 1.0)
    results = [(example, dspy.Prediction(answer="2"), 1.0)]
    [row] = parts.rows_of(evaluate, results, "right")
    assert row["right"] == 1.0
    pytest.importorskip("pandas")
    parts.show_table(evaluate, results, "right", True)
    assert "right" in capsys.readouterr().out
