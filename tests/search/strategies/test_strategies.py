from collections.abc import Sequence

import pytest

from ipo_dspy import registry
from ipo_dspy.errors import ArgumentError, UnknownNameError
from ipo_dspy.records import Trial
from ipo_dspy.search.history import History
from ipo_dspy.search.strategies import Ask, Candidate, SearchView, Strategy, make_strategy
from ipo_dspy.search.strategies.random_texts import RandomTexts
from ipo_dspy.search.strategies.steady import Steady
from ipo_dspy.search.strategies.steps import Steps
from ipo_dspy.testing import check_strategy

HISTORIES = {"first": History(), "second": History()}


class Texts:
    """Tries texts of its own, two a step, and asks the prompt model once at the end."""

    in_order = True

    def __init__(self) -> None:
        self.heard = 0

    def ask(self, view: SearchView, free: int) -> Sequence[Ask | Candidate]:
        step = view.step + 1
        if view.open or step > view.steps:
            return ()
        name = view.predictor(step)
        if step == view.steps:
            return [Ask(step, name)]
        return [Candidate(step, name, f"{self.heard} {n} <CLASS>") for n in range(2)]

    def tell(self, trial: Trial) -> None:
        self.heard += 1


class TextsOnArrival(Texts):
    """The same, settled as it comes."""

    in_order = False


@pytest.mark.slow
@pytest.mark.parametrize("name", registry.names("strategies"))
def test_our_strategies_keep_the_promises_of_the_seam(name: str) -> None:
    check_strategy(lambda: make_strategy(name, prompts_per_step=3, seed=0))


@pytest.mark.parametrize("make", [Texts, TextsOnArrival])
def test_a_strategy_of_texts_alone_keeps_them_too(make: type[Strategy]) -> None:
    check_strategy(make)


def test_a_strategy_that_remembers_more_than_the_search_told_it_is_found_out() -> None:
    calls: list[int] = []

    class Forgetful(Texts):
        def ask(self, view: SearchView, free: int) -> Sequence[Ask | Candidate]:
            calls.append(len(calls))
            step = view.step + 1
            if view.open or step > view.steps:
                return ()
            return [Candidate(step, view.predictor(step), f"{len(calls)} <CLASS>")]

    with pytest.raises(AssertionError, match="equal searches try the same"):
        check_strategy(Forgetful)


def test_steps_ask_for_a_whole_step_and_wait_until_it_is_settled() -> None:
    steps = Steps(prompts_per_step=3)
    assert steps.ask(SearchView(HISTORIES, steps=2), 3) == [Ask(1, "first")] * 3
    assert steps.ask(SearchView(HISTORIES, steps=2, asked=3, step=1, open=1), 2) == ()
    assert steps.ask(SearchView(HISTORIES, steps=2, asked=3, step=1), 3) == [Ask(2, "second")] * 3
    assert steps.ask(SearchView(HISTORIES, steps=2, asked=6, step=2), 3) == ()


def test_steady_asks_anew_for_each_that_is_settled() -> None:
    steady = Steady(prompts_per_step=2)
    asked = steady.ask(SearchView(HISTORIES, steps=3, asked=3, step=2, open=1), 1)
    assert asked == [Ask(2, "second")]


def test_a_strategy_is_found_by_name_or_taken_as_it_is() -> None:
    assert isinstance(make_strategy("steps", prompts_per_step=1, seed=0), Steps)
    assert isinstance(make_strategy(Texts(), prompts_per_step=1, seed=0), Texts)
    with pytest.raises(UnknownNameError):
        make_strategy("step", prompts_per_step=1, seed=0)
    with pytest.raises(ArgumentError):
        make_strategy(object(), prompts_per_step=1, seed=0)  # type: ignore[arg-type]


def test_each_search_has_a_strategy_of_its_own() -> None:
    given = Texts()
    assert make_strategy(given, prompts_per_step=1, seed=0) is not given


def test_random_texts_are_new_and_ask_nobody() -> None:
    texts = RandomTexts(prompts_per_step=5, seed=1)
    asked = texts.ask(SearchView(HISTORIES, steps=2), 5)
    assert len({candidate.text for candidate in asked}) == 5
    assert all(candidate.text.count("<CLASS>") == 1 for candidate in asked)
    assert texts.ask(SearchView(HISTORIES, steps=2, asked=10, step=2), 5) == ()
    assert asked == RandomTexts(prompts_per_step=5, seed=1).ask(SearchView(HISTORIES, steps=2), 5)


def test_steps_can_ask_with_negative_examples() -> None:
    [asked] = Steps(prompts_per_step=1, negative=3).ask(SearchView(HISTORIES, steps=2), 1)
    assert asked == Ask(1, "first", negative=3)
