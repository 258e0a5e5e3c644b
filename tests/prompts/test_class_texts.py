"""Text for each class: read from an answer, and put behind a filled template."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.errors import ArgumentError
from ipo_dspy.prompts.class_texts import behind, checked_class_texts, read_descriptions


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a photo of a cup.", "a photo of a cup, with a handle."),
        ("a photo of a cup", "a photo of a cup, with a handle"),
        ("cup", "cup, with a handle"),
    ],
)
def test_a_description_stands_within_the_full_stop(text: str, expected: str) -> None:
    assert behind(text, "with a handle") == expected


@pytest.mark.parametrize(
    "reply",
    [
        "with a handle\na wide rim",
        "- with a handle\n- a wide rim.",
        "1. with a handle\n2) a wide rim",
        "Here are two phrases:\n\n* **with a handle**\n* a wide rim,",
        '["with a handle", "a wide rim"]',
        "```\nwith a handle\na wide rim\n```",
        "<think>a cup?</think>with a handle\nWith a handle\na wide rim\na third one",
    ],
)
def test_lines_and_lists_are_read_without_marks_and_repetitions(reply: str) -> None:
    assert read_descriptions(reply, 2) == ("with a handle", "a wide rim")


@pytest.mark.parametrize("reply", ["", "none", "None.", "  \n ", "with\u202e a handle"])
def test_an_answer_that_says_nothing_gives_nothing(reply: str) -> None:
    assert read_descriptions(reply, 5) == ()


@pytest.mark.slow
@given(st.lists(st.from_regex(r"[a-z]{2,9} [a-z]{2,9} [xyz]", fullmatch=True), max_size=8))
def test_what_was_listed_is_read_again(phrases: list[str]) -> None:
    expected = tuple(dict.fromkeys(phrases))

    assert read_descriptions(json.dumps(phrases), 9) == expected
    assert read_descriptions("\n".join(f"- {phrase}" for phrase in phrases), 9) == expected


@pytest.mark.parametrize(
    "texts", [{"cup": "with a handle"}, {"cup": [" "]}, {"cup": ["a\nb"]}, {"cup": ["a\x1bb"]}]
)
def test_a_description_of_ones_own_is_one_visible_line(texts: dict[str, list[str]]) -> None:
    with pytest.raises(ArgumentError):
        checked_class_texts(texts)
