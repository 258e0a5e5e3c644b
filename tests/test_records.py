import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ipo_dspy.records import Description, Reply, Score, State, Trial, hidden_character, visible

floats = st.floats(0, 100)
scores = st.builds(
    Score,
    accuracy=floats,
    loss=floats,
    n=st.integers(1, 10**9),
    per_class=st.dictionaries(st.text(), floats, max_size=3),
    losses=st.lists(floats, max_size=3).map(tuple),
)
trials = st.builds(
    Trial,
    step=st.integers(0),
    slot=st.integers(0),
    predictor=st.text(),
    text=st.text(),
    state=st.sampled_from(State),
    reason=st.text(),
    counts_as_failure=st.booleans(),
    score=st.none() | scores,
    validation=st.none() | scores,
)


@given(trials)
def test_a_trial_comes_back_from_json_as_it_was(made: Trial) -> None:
    assert Trial.model_validate(json.loads(json.dumps(made.model_dump(mode="json")))) == made


def test_a_record_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Reply(step=1, slot=0).step = 2


def test_a_record_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(ValidationError):
        Reply.model_validate({"step": 1, "slot": 0, "mood": "good"})


def test_unknown_tokens_and_dollars_are_none_and_not_zero() -> None:
    assert (Reply(step=1, slot=0).tokens, Reply(step=1, slot=0).dollars) == (None, None)


@pytest.mark.parametrize("make", [Reply(step=1, slot=0), Description(index=0)])
def test_text_that_utf8_cannot_hold_gets_question_marks(make: Reply | Description) -> None:
    record = type(make).model_validate(
        {**make.model_dump(), "text": "a \ud800 b", "error": "\udfff"}
    )
    assert (record.text, record.error) == ("a ? b", "?")


HIDDEN = [
    *("\x00", "\x07", "\r", "\x1b", "\x7f", "\x9b", "\xad", "\u034f", "\u061c", "\u115f", "\u180e"),
    *("\u200b", "\u200d", "\u200e", "\u2028", "\u202e", "\u2060", "\u2066", "\u2800", "\u3164"),
    *("\ufe01", "\ufeff", "\uffa0", "\U000e0041", "\U000e0100", "\ud800"),
]


@pytest.mark.parametrize("char", HIDDEN, ids=ascii)
def test_hidden_characters_are_found_and_shown_as_escapes(char: str) -> None:
    text = f"a{char}b"
    assert hidden_character(text) == char
    shown = visible(text)
    assert char not in shown
    assert shown.isascii()
    assert shown.encode("ascii").decode("unicode_escape") == text


@pytest.mark.parametrize("text", ["", "a\n\tb", "crème brûlée", "猫 кот قط", "❤️ 🐈", "“a” – b…"])
def test_what_a_reader_sees_stays_as_it_is(text: str) -> None:
    assert hidden_character(text) is None
    assert visible(text) == text


@given(st.text())
def test_what_is_visible_stays_visible(text: str) -> None:
    assert hidden_character(visible(text)) is None
    visible(text).encode()
