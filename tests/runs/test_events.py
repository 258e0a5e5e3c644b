from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.prompts.template import Template
from ipo_dspy.records import ClassText, Description, Reply, Score, State, Trial
from ipo_dspy.runs.events import Sense

SENSE = Sense(images=2, predictors={"predict": Template}, sizes=(4,), prompts_per_step=2)
SCORE = {"accuracy": 75.0, "loss": 0.5, "n": 4, "per_class": {"cat": 100.0, "dog": 50.0}}


def description(index: int, text: str | None = "chalk", error: str | None = None) -> dict[str, Any]:
    return {"description": Description(index=index, text=text, error=error).model_dump()}


def reply(step: int, slot: int, text: str = "a <CLASS>") -> dict[str, Any]:
    return {"reply": Reply(step=step, slot=slot, text=text).model_dump()}


def trial(step: int, slot: int, text: str = "a <CLASS>", **score: Any) -> dict[str, Any]:
    made = Trial(
        step=step,
        slot=slot,
        predictor="predict",
        text=text,
        state=State.OK,
        score=Score.model_validate({**SCORE, **score}),
    )
    return {"trial": made.model_dump(mode="json")}


def changed(event: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    [(kind, body)] = event.items()
    return {kind: {**body, **changes}}


def wrong(*events: Mapping[str, Any]) -> dict[int, str]:
    return SENSE(dict(enumerate(events, start=2)))


RUN = (
    description(0, None, "it timed out"),
    description(1),
    description(0),
    trial(0, 0),
    {"retry": {"step": 1, "slot": 0, "reason": "a rate limit"}},
    reply(1, 1, "b <CLASS>"),
    reply(1, 0),
    trial(1, 0),
    trial(1, 1, "b <CLASS>"),
    {"class_text": ClassText(asked="a", class_name="cat", texts=("with ears",)).model_dump()},
    {"again": [[1, 0], [1, 1]]},
    reply(1, 0, "c <CLASS>"),
    trial(1, 0, "c <CLASS>"),
    reply(2, 0, "d <CLASS>"),
)


def test_what_a_search_writes_makes_sense() -> None:
    assert wrong(*RUN) == {}


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"surprise": 1},
        {"reply": {}},
        {"reply": 3},
        {**reply(1, 0), "trial": {}},
        {"again": [[1]]},
        {"again": [[-1, 0]]},
        {"again": 3},
        {"retry": {"step": 1, "slot": 0}},
        changed(reply(1, 0), step=-1),
        changed(reply(1, 0), step="1"),
        changed(reply(1, 0), step=1.5),
        changed(reply(1, 0), slot=2),
        changed(reply(1, 0), text=3),
        changed(reply(1, 0), more=1),
        reply(7, 0),
        description(2),
        changed(description(0), index=-1),
        changed(trial(1, 0), state="fine"),
        changed(trial(1, 0), score=None),
        changed(trial(1, 0), state="invalid"),
        changed(trial(1, 0), text="no slot"),
        changed(trial(1, 0), predictor="other"),
        changed(trial(1, 0), score={**SCORE, "accuracy": 7.0}),
        changed(trial(1, 0), score={**SCORE, "accuracy": "NaN"}),
        changed(trial(1, 0), score={**SCORE, "accuracy": None}),
        changed(trial(1, 0), score={**SCORE, "loss": -3.0}),
        changed(trial(1, 0), score={**SCORE, "loss": "NaN"}),
        changed(trial(1, 0), score={**SCORE, "n": 5}),
        changed(trial(1, 0), score={**SCORE, "n": -4}),
        changed(trial(1, 0), score={**SCORE, "per_class": {"cat": "NaN"}}),
        changed(trial(1, 0), validation={**SCORE, "loss": -3.0}),
    ],
)
def test_what_no_search_can_have_written_is_named_by_its_line(event: dict[str, Any]) -> None:
    assert list(wrong(trial(0, 0), event, reply(1, 1))) == [3]


def test_a_repeated_line_counts_once() -> None:
    assert list(wrong(trial(0, 0), reply(1, 0), reply(1, 0))) == [4]
    assert list(wrong(trial(0, 0), trial(0, 0))) == [3]
    assert list(wrong(description(0), description(0, "another"))) == [3]


def test_of_two_trials_that_differ_none_is_believed() -> None:
    better = trial(1, 0, accuracy=100.0)
    assert list(wrong(trial(0, 0), trial(1, 0), reply(1, 1), better)) == [3, 5]


def test_of_two_answers_the_later_one_counts() -> None:
    assert list(wrong(trial(0, 0), reply(1, 0), reply(1, 0, "b <CLASS>"))) == [3]


def test_lines_that_were_lost_take_no_later_ones_with_them() -> None:
    assert SENSE({2: trial(0, 0), 5: reply(2, 0)}) == {}


def test_any_metric_may_give_more_than_1_and_less_than_0() -> None:
    for accuracy in (350.0, -20.0):
        score = {"accuracy": accuracy, "loss": 1 - accuracy / 100, "per_class": {}}
        assert wrong(trial(0, 0, **score)) == {}


def test_where_steps_may_be_skipped_they_are() -> None:
    free = Sense(images=0, predictors={"predict": Template}, sizes=(4,))
    assert free({2: reply(7, 12)}) == {}


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(place=st.integers(0, len(RUN) - 1), name=st.integers(0, 12), value=anything)
def test_any_value_in_any_place_is_taken_or_named(place: int, name: int, value: Any) -> None:
    events = [dict(event) for event in RUN]
    [(kind, body)] = events[place].items()
    if isinstance(body, dict):
        key = list(body)[name % len(body)]
        events[place] = {kind: {**body, key: value}}
    else:
        events[place] = {kind: value}
    assert all(line >= 2 and reason for line, reason in wrong(*events).items())
