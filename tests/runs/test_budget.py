import pytest

from ipo_dspy.records import Reply
from ipo_dspy.runs.budget import Budget, Spent, estimate_tokens


def spent(calls: int = 0, tokens: int | None = None, dollars: float | None = None) -> Spent:
    total = Spent()
    for _ in range(calls):
        total.add(Reply(step=1, slot=0, text="x", tokens=tokens, dollars=dollars))
    return total


@pytest.mark.parametrize(
    "bound", [{"steps": 0}, {"calls": -1}, {"tokens": -1}, {"dollars": -0.1}, {"seconds": -1}]
)
def test_a_bound_that_makes_no_sense_is_refused_by_name(bound: dict[str, int]) -> None:
    [name] = bound
    with pytest.raises(ValueError, match=f"Budget: {name} must"):
        Budget(**bound)


def test_without_bounds_nothing_is_exhausted() -> None:
    assert spent(calls=10_000, tokens=10_000, dollars=10.0).exhausted(Budget(), 5) == ""


def test_calls_are_exhausted_where_the_next_step_would_pass_the_bound() -> None:
    assert spent(calls=5).exhausted(Budget(calls=10), 5) == ""
    assert spent(calls=6).exhausted(Budget(calls=10), 5).startswith("calls: 6 of 10")


@pytest.mark.parametrize(
    ("budget", "name"),
    [
        (Budget(tokens=20), "tokens"),
        (Budget(dollars=0.5), "dollars"),
        (Budget(seconds=0), "seconds"),
    ],
)
def test_the_bound_that_was_reached_is_named(budget: Budget, name: str) -> None:
    assert spent(calls=2, tokens=10, dollars=0.25).exhausted(budget, 1).startswith(name)


def test_patience_counts_steps_without_a_better_prompt() -> None:
    assert Spent(steps_without_gain=2).exhausted(Budget(patience=3), 1) == ""
    assert Spent(steps_without_gain=3).exhausted(Budget(patience=3), 1).startswith("patience")


def test_unknown_cost_stays_unknown_and_exhausts_nothing() -> None:
    total = spent(calls=3)
    assert (total.calls, total.tokens, total.dollars) == (3, None, None)
    assert total.exhausted(Budget(tokens=1, dollars=0.01), 1) == ""


def test_known_cost_is_added_up_beside_unknown_cost() -> None:
    total = spent(calls=2, tokens=10, dollars=0.25)
    total.add(Reply(step=2, slot=0))
    assert (total.calls, total.tokens, total.dollars) == (3, 20, 0.5)


def test_an_estimate_grows_with_the_number_of_words() -> None:
    assert estimate_tokens(["one two", "three"]) * 2 == pytest.approx(
        estimate_tokens(["one two three"] * 2), abs=1
    )
    assert estimate_tokens([]) == 0
