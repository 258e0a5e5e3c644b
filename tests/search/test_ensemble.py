from pathlib import Path

import dspy
import pytest

from ipo_dspy import CLIPClassifier, IPOOptimizer
from ipo_dspy.errors import ArgumentError
from ipo_dspy.records import SCALES, Score, State, Trial
from ipo_dspy.scoring.ranking import RAW, Ranking
from ipo_dspy.search.ensemble import join_best
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm


@pytest.fixture
def program() -> CLIPClassifier:
    return CLIPClassifier(list(COLOURS), ColourEncoder())


def trial(text: str, accuracy: float, loss: float) -> Trial:
    losses = tuple(loss + abs(index - RAW) for index in range(len(SCALES)))
    score = Score(accuracy=accuracy, loss=loss, n=60, losses=losses)
    return Trial(step=1, slot=0, text=text, state=State.OK, score=score)


def joined(program: dspy.Module, size: int, *trials: Trial) -> tuple[str, ...] | None:
    ranking = Ranking.of(t.score for t in trials if t.score)
    ensemble = join_best(program, trials, ranking, size)
    return None if ensemble is None else ensemble.template.lines


def test_what_the_ranking_puts_first_is_joined(program: CLIPClassifier) -> None:
    trials = [
        trial("a flat <CLASS>", 60, 0.9),
        trial("a crisp <CLASS>", 50, 0.3),
        trial("a flat crisp <CLASS>", 60, 0.2),
        trial("a <CLASS>", 20, 0.1),
    ]
    assert joined(program, 2, *trials) == ("a flat crisp <CLASS>", "a crisp <CLASS>")


def test_texts_that_encode_alike_count_once(program: CLIPClassifier) -> None:
    # This encoder does not know the other words.
    trials = [
        trial("a crisp <CLASS>", 50, 0.5),
        trial("one crisp <CLASS>.", 50, 0.5),
        trial("a flat crisp <CLASS>", 40, 0.6),
    ]
    assert joined(program, 5, *trials) == ("a crisp <CLASS>", "a flat crisp <CLASS>")
    assert joined(program, 5, *trials[:2]) is None


def test_programs_without_a_template_have_no_ensemble() -> None:
    assert joined(dspy.Predict("a -> b"), 5, trial("x", 1, 1), trial("y", 2, 1)) is None


def test_a_search_gives_one_beside_the_single_prompt(
    program: CLIPClassifier, tmp_path: Path
) -> None:
    texts = ["a flat <CLASS>", "a crisp <CLASS>", "a flat crisp <CLASS>"]
    best = IPOOptimizer(prompt_model=scripted_lm(texts), steps=1, ensemble=2).compile(
        program, trainset=colour_examples()
    )
    ensemble = best.detailed_results.ensemble
    assert best.template.text == texts[-1]
    assert len(ensemble.template.lines) == 2
    assert len(best.predictors()) == 1
    ensemble.save(tmp_path / "ensemble.json")
    loaded = CLIPClassifier.from_file(tmp_path / "ensemble.json", ColourEncoder())
    image = colour_examples()[0].image
    assert loaded(image=image).label == ensemble(image=image).label


def test_no_ensemble_is_made_where_none_is_wanted(program: CLIPClassifier) -> None:
    best = IPOOptimizer(prompt_model=scripted_lm(["a flat <CLASS>"]), steps=1, ensemble=0).compile(
        program, trainset=colour_examples()
    )
    assert best.detailed_results.ensemble is None


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ArgumentError):
        IPOOptimizer(ensemble=-1)
