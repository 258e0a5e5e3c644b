import pytest

from ipo_dspy.exports.gains import gains
from ipo_dspy.records import Score
from ipo_dspy.scoring.comparison import Comparison, Evaluation


def compared(gained: int, lost: int, same: int, text: str = "found") -> Comparison:
    n = gained + lost + same
    first = (False,) * gained + (True,) * lost + (True,) * same
    found = (True,) * gained + (False,) * lost + (True,) * same
    sides = [
        Evaluation(name, Score(accuracy=100 * sum(hits) / n, loss=1, n=n), hits)
        for name, hits in (("first", first), (text, found))
    ]
    return Comparison("held-out images", *sides)


@pytest.mark.parametrize(
    ("gained", "lost", "words"),
    [
        (20, 2, "better than the first prompt by 18.0 points on 100 images"),
        (2, 20, "worse than the first prompt by 18.0 points on 100 images"),
        (5, 3, "not to be told apart from the first prompt on 100 images"),
        (0, 0, "not to be told apart"),
    ],
)
def test_the_figures_are_put_in_words(gained: int, lost: int, words: str) -> None:
    [sentence] = gains([compared(gained, lost, 100 - gained - lost)])
    assert words in sentence


def test_the_same_prompt_is_no_gain() -> None:
    [sentence] = gains([compared(0, 0, 50, "first")])
    assert "no prompt was better" in sentence
