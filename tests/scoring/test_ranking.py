import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from ipo_dspy.records import SCALES, Score, State, Trial
from ipo_dspy.scoring.ranking import RAW, Ranking, by_merit, in_spreads
from ipo_dspy.scoring.scorers import losses_at_scales, squares


def of_logits(accuracy: float, logits: list[list[float]], step: int = 1) -> Trial:
    """A trial whose first class is the right one for every image."""
    rows = torch.tensor(logits)
    labels = torch.zeros(len(rows), dtype=torch.long)
    losses = tuple((losses_at_scales(rows, labels) / len(rows)).tolist())
    spread = math.sqrt(squares(rows).item() / len(rows))
    score = Score(accuracy=accuracy, loss=losses[RAW], n=len(rows), losses=losses, spread=spread)
    return Trial(step=step, slot=0, text=str(logits), state=State.OK, score=score)


def plain(accuracy: float, loss: float, validation: Score | None = None) -> Trial:
    score = Score(accuracy=accuracy, loss=loss, n=10)
    return Trial(step=1, slot=0, text="x", state=State.OK, score=score, validation=validation)


@pytest.mark.slow
@given(
    st.lists(st.lists(st.floats(-50, 50), min_size=3, max_size=3), min_size=1, max_size=5),
    st.sampled_from(range(len(SCALES))),
)
def test_each_loss_is_the_cross_entropy_of_the_scaled_logits(
    rows: list[list[float]], index: int
) -> None:
    logits = torch.tensor(rows, dtype=torch.float64)
    labels = torch.arange(len(rows)) % 3
    expected = torch.nn.functional.cross_entropy(SCALES[index] * logits, labels, reduction="sum")
    assert losses_at_scales(logits, labels)[index].item() == pytest.approx(
        expected.item(), rel=1e-9, abs=1e-9
    )


def test_the_scale_is_half_of_that_of_the_lowest_loss_of_all_in_spreads() -> None:
    # The right class leads by one in three of four images: best is a lead of ln 3. Two logits lie
    # half of their lead from their mean.
    trials = [of_logits(75, [[1, 0], [1, 0], [1, 0], [0, 1]]) for _ in range(3)]
    assert Ranking.of(t.score for t in trials).scale == min(
        SCALES, key=lambda s: abs(math.log(s / (math.log(3) / 2 / 2)))
    )


def test_a_template_that_spreads_its_logits_more_gains_nothing_by_it() -> None:
    rows = [[1.0, 0.2, -0.4], [0.1, 0.3, -0.2]]
    wide = [[7 * logit for logit in row] for row in rows]
    narrow, spread = of_logits(50, rows), of_logits(50, wide)
    ranking = Ranking.of(t.score for t in (narrow, spread) if t.score)
    assert narrow.score
    assert spread.score
    assert ranking.loss(spread.score) == pytest.approx(ranking.loss(narrow.score), abs=1e-4)
    assert spread.score.loss != pytest.approx(narrow.score.loss, abs=0.01)


@given(
    st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=2, max_size=5),
    st.sampled_from(SCALES[6:19]),
)
def test_losses_in_spreads_are_cross_entropies_of_standardised_logits(
    rows: list[list[float]], scale: float
) -> None:
    logits = torch.tensor(rows, dtype=torch.float64)
    spread = math.sqrt(squares(logits).item() / len(rows))
    assume(spread > 0.1)
    trial = of_logits(50, rows)
    expected = torch.nn.functional.cross_entropy(
        scale * logits / spread, torch.zeros(len(rows), dtype=torch.long)
    )
    assert trial.score
    found = in_spreads(trial.score)[SCALES.index(scale)]
    assert found == pytest.approx(expected.item(), rel=0.01, abs=0.002)


def test_losses_of_an_unknown_spread_are_taken_as_they_are() -> None:
    score = Score(accuracy=50, loss=1.0, n=2, losses=tuple(range(len(SCALES))))
    assert in_spreads(score) == score.losses


def test_the_fitted_loss_decides_where_the_raw_one_is_led_astray_by_the_scale() -> None:
    # At a hundredth of the scale, the loss says no more than how far apart the logits are.
    sure = of_logits(50, [[0.08, 0.0], [-0.04, 0.0]])
    unsure = of_logits(50, [[0.02, 0.0], [-0.001, 0.0]])
    others = [of_logits(100, [[0.05, 0.0]]) for _ in range(8)]
    ranking = Ranking.of(t.score for t in (sure, unsure, *others))
    assert sure.score
    assert unsure.score
    assert sure.score.loss < unsure.score.loss
    assert ranking.key(unsure) > ranking.key(sure)
    raw = Ranking.of((t.score for t in (sure, unsure, *others)), fitted=False)
    assert (raw.scale, raw.key(sure) > raw.key(unsure)) == (1.0, True)


@given(st.permutations(range(4)))
def test_the_order_of_equally_good_trials_does_not_depend_on_the_scale_of_the_logits(
    numbers: list[int],
) -> None:
    leads = [[1.5, 0.2], [2.0, -0.5], [1.0, 0.9], [0.4, 0.3]]
    orders = []
    for unit in (1.0, 0.0625):
        trials = [of_logits(50, [[unit * lead, 0.0] for lead in leads[n]]) for n in numbers]
        ranking = Ranking.of(t.score for t in trials)
        orders.append(sorted(range(4), key=lambda i: ranking.key(trials[i])))
    assert orders[0] == orders[1]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (plain(50, 2.0), plain(40, 1.0)),
        (plain(50, 1.0), plain(50, 2.0)),
        (
            plain(40, 9.0, Score(accuracy=80, loss=1, n=1)),
            plain(90, 0.1, Score(accuracy=70, loss=0, n=1)),
        ),
        (
            plain(50, 1.0, Score(accuracy=80, loss=1, n=1)),
            plain(40, 1.0, Score(accuracy=80, loss=1, n=1)),
        ),
    ],
    ids=["accuracy first", "then lower loss", "validation decides", "training breaks its ties"],
)
def test_the_better_trial_ranks_higher(better: Trial, worse: Trial) -> None:
    key = Ranking.of(t.score for t in (better, worse)).key
    assert key(better) > key(worse)


def test_a_trial_without_a_score_has_no_rank() -> None:
    with pytest.raises(ValueError, match="invalid has no rank"):
        Ranking().key(Trial(step=1, slot=0, text="x", state=State.INVALID, reason="bad"))


def test_merit_weighs_accuracy_and_loss_alike_and_puts_the_earlier_of_equals_last() -> None:
    lucky, steady, bad = (60.0, 2.0), (58.0, 1.0), (40.0, 2.1)
    assert by_merit([lucky, steady, bad]) == [2, 0, 1]
    assert by_merit([steady, steady]) == [1, 0]
    assert by_merit([]) == []


def test_no_order_hangs_on_the_last_bit() -> None:
    loss = 1.2345674
    moved = math.nextafter(loss, 2.0)
    ranking = Ranking()
    assert ranking.key(plain(50, loss)) == ranking.key(plain(50, moved))
    assert ranking.key(plain(50, loss)) > ranking.key(plain(50, loss + 1e-5))


def classified(accuracy: float, loss: float, n: int) -> Trial:
    losses = tuple(loss + abs(index - RAW) for index in range(len(SCALES)))
    score = Score(accuracy=accuracy, loss=loss, n=n, losses=losses)
    return Trial(step=1, slot=0, text="x", state=State.OK, score=score)


@pytest.mark.parametrize(("n", "loss_decides"), [(30, True), (3000, False)])
def test_the_loss_decides_between_accuracies_that_differ_by_luck_alone(
    n: int, loss_decides: bool
) -> None:
    # Of 30 images two standard errors of 60 % are 17.9 points, of 3,000 1.8.
    lucky, steady, bad = classified(60, 1.0, n), classified(55, 0.5, n), classified(40, 0.1, n)
    ranking = Ranking.of(t.score for t in (bad, lucky, steady))
    assert (ranking.key(steady) > ranking.key(lucky)) is loss_decides
    assert ranking.key(bad) < min(ranking.key(lucky), ranking.key(steady))
    assert ranking.enough == pytest.approx(60 - 200 * math.sqrt(0.24 / n))


def test_the_paper_counts_accuracy_in_full() -> None:
    lucky, steady = classified(60, 1.0, 30), classified(55, 0.5, 30)
    ranking = Ranking.of((t.score for t in (lucky, steady)), fitted=False)
    assert ranking.key(lucky) > ranking.key(steady)


def test_a_validation_accuracy_counts_in_full() -> None:
    lucky, steady = classified(60, 1.0, 30), classified(55, 0.5, 30)
    ranking = Ranking.of(t.score for t in (lucky, steady))
    by_validation = [t.model_copy(update={"validation": t.score}) for t in (lucky, steady)]
    assert ranking.key(by_validation[0]) > ranking.key(by_validation[1])


def test_a_bad_trial_does_not_change_the_scale() -> None:
    good = of_logits(75, [[1, 0], [1, 0], [1, 0], [0, 1]])
    bad = of_logits(25, [[0, 9], [0, 9], [0, 9], [9, 0]])
    scores = [trial.score for trial in (good, bad, bad) if trial.score]
    assert Ranking.of(scores).scale == Ranking.of(scores[:1]).scale
