from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.errors import ArgumentError
from ipo_dspy.optimizers.cocoop import CoCoOp
from ipo_dspy.optimizers.coop import CoOp
from ipo_dspy.optimizers.coprompt import CoPrompt
from ipo_dspy.optimizers.maple import MaPLe
from ipo_dspy.optimizers.promptsrc import PromptSRC
from ipo_dspy.optimizers.schedule import GaussianAverage, Recipe

COCOOP = [1e-5, 0.002, 0.001951, 0.001809, 0.001588, 0.001309, 0.001, 0.000691, 0.000412, 0.000191]
RATES = {
    CoCoOp: COCOOP,
    MaPLe: [1e-5, 0.0035, 0.003166, 0.002291, 0.001209],
    CoPrompt: [1e-5, 0.0035, 0.003367, 0.002987, 0.00242, 0.00175, 0.00108, 0.000513],
}


@pytest.mark.parametrize("learner", RATES)
def test_rates_are_those_of_the_authors(learner: type) -> None:
    recipe = learner().training
    rates = [recipe.lr_in(epoch) for epoch in range(1, recipe.epochs + 1)]
    assert rates == pytest.approx(RATES[learner], abs=5e-7)


def test_long_trainings_begin_and_end_as_the_authors_do() -> None:
    src = PromptSRC().training
    assert [src.lr_in(e) for e in (1, 2, 3, 19, 20)] == pytest.approx(
        [1e-5, 0.0025, 0.002485, 0.000136, 0.000061], abs=5e-7
    )
    assert CoOp.for_dataset("imagenet").training.lr_in(3) == pytest.approx(0.001998, abs=5e-7)
    assert CoOp().training.epochs == 200


@pytest.mark.parametrize(
    ("learner", "images", "steps"),
    [
        (CoOp, 24 * 16, 2400),
        (CoOp, 24, 200),
        (CoCoOp, 24 * 16, 3840),
        (MaPLe, 5, 5),
        (MaPLe, 500 * 16, 10000),
        (PromptSRC, 19 * 16, 1520),
        (CoPrompt, 5, 8),
    ],
)
def test_numbers_of_steps_are_those_of_the_authors(learner: type, images: int, steps: int) -> None:
    recipe = learner().training
    assert recipe.epochs * recipe.steps_per_epoch(images) == steps


@given(images=st.integers(1, 200), size=st.integers(1, 40), epoch=st.integers(1, 9))
def test_batches_are_full_and_no_image_comes_twice(images: int, size: int, epoch: int) -> None:
    batches = Recipe(epochs=9, batch_size=size, lr=0.1).batches(images, epoch, seed=3)
    seen = [index for batch in batches for index in batch]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(images))
    assert {len(batch) for batch in batches} == {min(size, images)}


def test_order_depends_on_seed_and_epoch_alone() -> None:
    recipe = Recipe(epochs=5, batch_size=4, lr=0.1)
    assert recipe.batches(40, 2, seed=1) == recipe.batches(40, 2, seed=1)
    assert recipe.batches(40, 2, seed=1) != recipe.batches(40, 3, seed=1)
    assert recipe.batches(40, 2, seed=1) != recipe.batches(40, 2, seed=2)


def test_average_weighs_epochs_as_promptsrc_does() -> None:
    weights = GaussianAverage(mean=15, deviation=1).weights(20)
    assert sum(weights) == pytest.approx(1)
    expected = [0.0044, 0.0540, 0.2420, 0.3989, 0.2420, 0.0540, 0.0044]
    assert weights[11:18] == pytest.approx(expected, abs=5e-5)
    assert sum(weights[:11]) == pytest.approx(1.4e-4, abs=1e-5)
    few_shot = GaussianAverage(mean=30, deviation=30).weights(50)
    assert [few_shot[0], few_shot[29], few_shot[49]] == pytest.approx(
        [0.0141, 0.0225, 0.0180], abs=5e-5
    )


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"lr": 0.0}])
def test_numbers_that_train_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        CoOp(**wrong)  # type: ignore[arg-type]
