import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import dspy
import pytest
from dspy.clients.base_lm import GLOBAL_HISTORY

from ipo_dspy.records import Cost
from ipo_dspy.runs.meter import measured
from ipo_dspy.testing import scripted_lm

QUESTION = {"question": "?"}


class Judge(dspy.Module):
    """Asks its own model, beside that of its predictor, once each."""

    def __init__(self, own: dspy.LM) -> None:
        super().__init__()
        self.answer = dspy.Predict("question -> answer")
        self.own = own

    def forward(self, question: str) -> dspy.Prediction:
        self.own("is it so?")
        return self.answer(question=question)


@pytest.mark.parametrize(
    "setting", [{}, {"disable_history": True}, {"max_history_size": 0}, {"max_history_size": 1}]
)
def test_every_call_inside_is_counted_whatever_history_dspy_keeps(setting: dict[str, Any]) -> None:
    program = Judge(scripted_lm(["yes"], field=None))
    with dspy.context(lm=scripted_lm(["yes"], field="answer"), **setting), measured() as meter:
        for _ in range(3):
            program(**QUESTION)
    assert meter.cost == Cost(calls=6, tokens=660)


def test_calls_in_threads_are_counted() -> None:
    program = dspy.Predict("question -> answer")
    pairs = [(program, QUESTION)] * 5
    with dspy.context(lm=scripted_lm(["yes"], field="answer")), measured() as meter:
        dspy.Parallel(num_threads=3, disable_progress_bar=True)(pairs)
    assert meter.cost.calls == 5


def test_calls_outside_are_not_counted() -> None:
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=scripted_lm(["yes"], field="answer")):
        program(**QUESTION)
        with measured() as meter:
            pass
        program(**QUESTION)
    assert meter.cost == Cost()


def test_where_no_history_is_kept_none_gathers() -> None:
    before = len(GLOBAL_HISTORY)
    lm = scripted_lm(["yes"], field="answer")
    program = dspy.Predict("question -> answer")
    with dspy.context(lm=lm, disable_history=True), measured():
        for _ in range(20):
            program(**QUESTION)
    assert len(GLOBAL_HISTORY) == before
    assert len(lm.history) <= 1
    assert len(program.history) <= 1


def test_settings_are_as_before_afterwards() -> None:
    before = dict(dspy.settings.config)
    with measured():
        pass
    assert dict(dspy.settings.config) == before


@pytest.mark.parametrize("count", [10**30, 2**63])
def test_a_count_that_no_call_can_have_is_unknown(
    count: int, serve_lm: Callable[..., AbstractContextManager[dspy.LM]]
) -> None:
    usage = {"prompt_tokens": count, "completion_tokens": 1, "total_tokens": count}
    choice = {"index": 0, "message": {"role": "assistant", "content": "hello"}}
    body = json.dumps({"id": "1", "model": "x", "choices": [choice], "usage": usage})
    with serve_lm(body=body) as lm, measured() as meter:
        lm("hello")
    assert meter.cost.calls == 1
    assert meter.cost.tokens is None
