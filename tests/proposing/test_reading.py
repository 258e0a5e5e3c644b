import random
from enum import Enum
from typing import Any, Literal

import dspy
import pytest
from dspy.adapters import ChatAdapter, JSONAdapter
from pydantic import BaseModel, Field

from ipo_dspy.proposing.reading import Asked, value_for


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Box(BaseModel):
    width: int = Field(ge=3)
    labels: list[str]
    lid: bool | None


class Everything(dspy.Signature):
    """Answer in every type."""

    question: str = dspy.InputField()
    text: str = dspy.OutputField(desc="some words (few)")
    flag: bool = dspy.OutputField()
    count: int = dspy.OutputField()
    share: float = dspy.OutputField()
    colour: Colour = dspy.OutputField()
    verdict: Literal["good", "bad"] = dspy.OutputField()
    names: list[str] = dspy.OutputField()
    table: dict[str, float] = dspy.OutputField()
    box: Box = dspy.OutputField()
    boxes: list[Box] = dspy.OutputField()
    maybe: int | None = dspy.OutputField()


def read(adapter: ChatAdapter, signature: type[dspy.Signature], **inputs: Any) -> Asked:
    system, user = adapter.format(signature, [], inputs)
    return Asked.read(system["content"], user["content"])


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter()], ids=["chat", "json"])
def test_an_answer_of_every_type_can_be_parsed(adapter: ChatAdapter) -> None:
    asked = read(adapter, Everything, question="?")
    chance = random.Random(0)
    values = {f.name: value_for(f.note, lambda: "words", chance) for f in asked.fields}
    parsed = adapter.parse(Everything, asked.write(values))
    assert list(parsed) == list(Everything.output_fields)
    assert parsed["text"] == "words"
    assert parsed["box"].width >= 3


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter()], ids=["chat", "json"])
def test_inputs_are_read_back_whole(adapter: ChatAdapter) -> None:
    question = "first line\n\nsecond line"
    assert read(adapter, Everything, question=question).inputs == {"question": question}


def test_field_descriptions_are_read() -> None:
    asked = read(ChatAdapter(), Everything, question="?")
    assert (asked.fields[0].name, asked.fields[0].description) == ("text", "some words (few)")


def test_the_plain_question_has_the_objective_and_the_inputs_alone() -> None:
    signature = dspy.Signature("question -> answer", "Answer well.\nBe brief.")
    for adapter in (ChatAdapter(), JSONAdapter()):
        plain = read(adapter, signature, question="Why?").plain
        assert plain == "Answer well. Be brief.\n\nquestion: Why?"


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter()], ids=["chat", "json"])
def test_a_reply_without_format_fills_the_one_text_field(adapter: ChatAdapter) -> None:
    signature = dspy.Signature("question -> answer")
    asked = read(adapter, signature, question="Why?")
    assert adapter.parse(signature, asked.in_format("Because.")) == {"answer": "Because."}
    formatted = asked.write({"answer": "So."})
    assert asked.in_format(formatted) == formatted


def test_a_reply_without_format_stays_where_there_are_more_fields() -> None:
    asked = read(ChatAdapter(), dspy.Signature("question -> answer, reason"), question="Why?")
    assert asked.in_format("Because.") == "Because."


def test_free_text_has_no_fields() -> None:
    asked = Asked.read("", "Write a poem.")
    assert asked.fields == ()
    assert asked.inputs == {}
