"""The means over steps, worked out by hand."""

import pytest

from benchmarks.ablations.curve import Course
from benchmarks.base_to_novel.outcomes import Counted, Found, Step


def found(*curve: tuple[int, int, float, float, float]) -> Found:
    steps = tuple(
        Step(step=s, prompts=n, loss=loss, accuracy=a, best_loss=loss / 2, best_accuracy=best)
        for s, n, loss, a, best in curve
    )
    nothing = Counted(base_images=1, base_right=0, novel_images=1, novel_right=0)
    return Found(
        text="a <CLASS>",
        accuracy=0.0,
        loss=0.0,
        step=0,
        passed_over=0,
        tested=nothing,
        calls=0,
        tokens=None,
        dollars=None,
        curve=steps,
        commit="",
    )


ONE = found((0, 1, 9.0, 10.0, 10.0), (1, 1, 4.0, 20.0, 20.0), (2, 2, 2.0, 50.0, 60.0))
OTHER = found((0, 1, 9.0, 10.0, 30.0), (1, 3, 8.0, 40.0, 40.0))


def test_every_prompt_of_a_step_counts_alike() -> None:
    course = Course.of([ONE, OTHER])
    assert course.steps == (1, 2)
    assert course.losses == (pytest.approx((4.0 + 3 * 8.0) / 4), 2.0)
    assert course.accuracies == (pytest.approx((20.0 + 3 * 40.0) / 4), 50.0)


def test_the_best_so_far_stays_where_a_step_has_no_prompt() -> None:
    course = Course.of([ONE, OTHER])
    assert course.best_accuracies == (30.0, 50.0)
    assert course.best_losses == (3.0, 2.5)


@pytest.mark.parametrize(("steps", "end"), [(1, 1), (3, 1), (8, 4), (100, 10)])
def test_the_two_ends_do_not_overlap(steps: int, end: int) -> None:
    curve = [(step, 1, 1.0, 1.0, 1.0) for step in range(steps + 1)]
    assert Course.of([found(*curve)]).end == end
