"""The teaching twin of the loop runs, and is a twin: it scores and ranks as the package does."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from ipo_dspy import CLIPPredict, clip_acc, load_encoder, read_folder
from ipo_dspy.demo.world import BASE_CLASSES, DEMO_MEDIUM, write_folder
from ipo_dspy.scoring.scorers import TensorScorer

LOOP = Path(__file__).parents[2] / "docs" / "loop.py"


@pytest.fixture(scope="module")
def loop() -> dict[str, Any]:
    return runpy.run_path(str(LOOP))


@pytest.fixture(scope="module")
def search(loop: dict[str, Any]) -> Any:
    return loop["main"](steps=4)


def test_it_stays_short_enough_to_read_in_one_go() -> None:
    assert len(LOOP.read_text("utf-8").splitlines()) <= 140


@pytest.mark.slow
def test_its_scores_are_those_of_the_package(search: Any, tmp_path: Path) -> None:
    write_folder(
        tmp_path, medium=DEMO_MEDIUM, class_names=BASE_CLASSES, per_class=1, seed=0, split="train"
    )
    images = read_folder(tmp_path)
    scorer = TensorScorer(
        CLIPPredict(images.classnames, load_encoder("demo")), images.examples, clip_acc
    )
    trials = search.trials[:6]
    scores = scorer.score([trial.template for trial in trials])
    for trial, score in zip(trials, scores, strict=True):
        assert trial.accuracy == pytest.approx(score.accuracy)
        assert trial.loss == pytest.approx(score.loss, rel=1e-5)


@pytest.mark.slow
def test_it_finds_something_at_least_as_good_and_asks_for_nothing_twice(search: Any) -> None:
    first, *others = search.trials
    assert search.best.rank >= first.rank
    assert len({trial.template for trial in search.trials}) == len(others) + 1
