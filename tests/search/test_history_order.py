"""The history's order is the one that sorting everything anew would give."""

from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.records import SCALES, Score, State, Trial
from ipo_dspy.search.history import History

few = st.sampled_from([0.25, 0.5, 1.0, 2.0])
scores = st.tuples(
    st.sampled_from([0, 50, 75, 100]), st.lists(few, min_size=len(SCALES), max_size=len(SCALES))
)


@given(
    st.lists(st.none() | scores, max_size=25),
    st.integers(0, 6),
    st.integers(0, 4),
    st.integers(0, 4),
)
def test_added_one_by_one_as_sorted_anew(
    given_scores: list[tuple[int, list[float]] | None], shown: int, size: int, worst: int
) -> None:
    history = History()
    for number, pair in enumerate(given_scores):
        if pair is None:
            trial = Trial(step=1, slot=number, text=f"{number}", state=State.INVALID, reason="no")
        else:
            accuracy, losses = pair
            score = Score(accuracy=accuracy, loss=losses[0], n=4, losses=tuple(losses))
            trial = Trial(step=1, slot=number, text=f"{number}", state=State.OK, score=score)
        history.add(trial)

    order = history.ranking.order
    scored = [trial for trial in history if trial.score is not None]
    worst_first = sorted(scored, key=lambda trial: order(trial.score))  # type: ignore[arg-type]
    best_first = sorted(scored, key=lambda trial: order(trial.score), reverse=True)  # type: ignore[arg-type]
    first = next(iter(history), None)
    expected = [
        trial.text
        for place, trial in enumerate(worst_first)
        if shown and (place >= len(worst_first) - shown or place < worst or trial is first)
    ]
    assert [prompt.prompt for prompt in history.shown(shown, worst)] == expected
    left_out = [trial.text for trial in best_first[shown:] if trial is not first]
    assert history.losers(shown, size) == (left_out[:size] if shown else [])
