"""Texts for each class, asked for within a budget and kept in a journal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.programs.describe import DescribePredict
from ipo_dspy.proposing.class_texts import ClassTextModel
from ipo_dspy.runs.budget import Budget, Spent
from ipo_dspy.runs.journal import EventLog, Journal, NoJournal, read_journal
from ipo_dspy.testing import scripted_lm

CONFUSED = {name: ("red",) for name in ("cup", "bowl", "vase", "lamp", "shoe")}


def ask(
    lm: dspy.LM,
    log: EventLog | None = None,
    budget: Budget | None = None,
    spent: Spent | None = None,
    **settings: Any,
) -> DescribePredict:
    describer = DescribePredict(2)
    known = {"temperature": 1.0, "seed": 0, "send_seed": True, "num_threads": 2}
    model = ClassTextModel(lm, **{**known, "most_failures": 3, **settings})
    model.describe(
        describer,
        CONFUSED,
        "a <CLASS>.",
        log or NoJournal(),
        Spent() if spent is None else spent,
        budget or Budget(),
    )
    return describer


def saying(answer: str | Callable[[int, str], str] = "with a handle") -> dspy.LM:
    lm = scripted_lm(answer if callable(answer) else [answer], field="descriptions")
    lm.num_retries = 0
    return lm


def test_every_class_is_one_call_that_is_counted() -> None:
    spent = Spent()

    describer = ask(saying(), spent=spent)

    assert describer.known == {name: ("with a handle",) for name in CONFUSED}
    assert (spent.calls, spent.scoring_calls, spent.tokens) == (5, 0, 550)


def test_a_bound_on_calls_leaves_the_classes_that_are_confused_least() -> None:
    describer = ask(saying(), budget=Budget(calls=3), spent=Spent())

    assert set(describer.known) == {"cup", "bowl", "vase"}


def test_patience_is_about_prompts_alone() -> None:
    describer = ask(saying(), budget=Budget(patience=1), spent=Spent(steps_without_gain=4))

    assert len(describer.known) == len(CONFUSED)


def test_what_a_journal_has_is_not_asked_again_but_counted(tmp_path: Path) -> None:
    lm, spent = saying(), Spent()
    with Journal(tmp_path, {"run": 1}) as journal:
        ask(lm, journal, Budget(calls=2), num_threads=1)
    with Journal(tmp_path, {"run": 1}) as journal:
        describer = ask(lm, journal, spent=spent)

    assert len(describer.known) == spent.calls == len(CONFUSED)
    assert len(lm.engine.requests) == len(CONFUSED)


def test_a_class_whose_call_failed_is_asked_again(tmp_path: Path) -> None:
    def fails_once(number: int, request: str) -> str:
        if number == 0:
            raise OSError("hiccup")
        return "with a handle"

    lm = saying(fails_once)
    with Journal(tmp_path, {"run": 1}) as journal:
        first = ask(lm, journal, num_threads=1)
    with Journal(tmp_path, {"run": 1}) as journal:
        second = ask(lm, journal)

    assert set(CONFUSED) - set(first.known) == {"cup"}
    assert set(second.known) == set(CONFUSED)


def test_why_a_class_was_asked_for_again_is_kept(tmp_path: Path) -> None:
    def fails_once(number: int, request: str) -> str:
        if number == 0:
            raise OSError("hiccup")
        return "with a handle"

    lm = saying(fails_once)
    lm.num_retries = 1
    with Journal(tmp_path, {"run": 1}) as journal:
        ask(lm, journal, num_threads=1)
    said = [event["class_text"]["retries"] for event in read_journal(tmp_path)[1]]

    assert sum(map(len, said)) == 1
    assert "hiccup" in "".join(map(str, said))


def test_failures_in_a_row_end_the_asking_and_not_the_run() -> None:
    def fails(number: int, request: str) -> str:
        raise OSError("down")

    lm = saying(fails)

    describer = ask(lm, num_threads=1)

    assert describer.known == {}
    assert len(lm.engine.requests) == 3


def test_a_model_that_cannot_be_used_ends_the_run() -> None:
    def refuses(number: int, request: str) -> str:
        raise dspy.utils.exceptions.LMAuthError("no key", model="scripted/model")

    with pytest.raises(SearchStoppedError):
        ask(saying(refuses))
