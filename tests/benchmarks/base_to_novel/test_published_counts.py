from dataclasses import replace

import open_clip
import pytest

from benchmarks.base_to_novel.outcomes import Counted
from benchmarks.base_to_novel.published_counts import (
    OPENAI_VIT_B_16,
    CountCheck,
    check_counts,
    near,
)
from ipo_dspy.datasets import BASE_TO_NOVEL, Benchmark, Half, find_benchmark

REAL = OPENAI_VIT_B_16


def as_published(benchmark: Benchmark) -> Counted:
    assert benchmark.base is not None
    assert benchmark.novel is not None
    return Counted(
        base_images=benchmark.base.images,
        base_right=benchmark.base.correct,
        novel_images=benchmark.novel.images,
        novel_right=benchmark.novel.correct,
    )


@pytest.mark.parametrize("benchmark", BASE_TO_NOVEL, ids=lambda benchmark: benchmark.name)
def test_published_counts_agree(benchmark: Benchmark) -> None:
    check = check_counts(benchmark, as_published(benchmark), REAL)
    assert check.state == "equal"


def test_counts_a_few_images_off_are_near_and_more_are_different() -> None:
    benchmark = find_benchmark("DTD")
    tested = as_published(benchmark)
    off = tested.model_copy(update={"base_right": tested.base_right + 3})
    assert check_counts(benchmark, off, REAL) == CountCheck(
        "near", "within 3 base images: +3 base images right, 460 published"
    )
    both = off.model_copy(update={"novel_right": tested.novel_right - 4})
    assert check_counts(benchmark, both, REAL) == CountCheck(
        "different",
        "+3 base images right, 460 published and -4 novel images right, 496 published",
    )


def test_more_images_may_be_off_where_there_are_more() -> None:
    assert (near(828), near(9_950), near(25_000)) == (3, 10, 25)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_is_not_compared(precision: str) -> None:
    benchmark = find_benchmark("DTD")
    check = check_counts(benchmark, as_published(benchmark), REAL, precision=precision, always=True)
    assert check.state == "not checked"
    assert precision in check.sentence


def test_a_template_that_is_too_long_is_not_compared() -> None:
    assert check_counts(find_benchmark("DTD"), None, REAL).state == "not checked"


def test_the_encoder_that_is_compared_is_one_that_loads() -> None:
    model, _, tag = REAL.removeprefix("open_clip:").partition("/")
    weights = open_clip.get_pretrained_cfg(model, tag)
    assert weights
    # open_clip only warns where they differ; here it is refused.
    assert weights["quick_gelu"] == open_clip.get_model_config(model)["quick_gelu"]


def test_another_number_of_images_differs() -> None:
    benchmark = find_benchmark("DTD")
    fewer = as_published(benchmark).model_copy(update={"novel_images": 800})
    check = check_counts(benchmark, fewer, REAL)
    assert check.state == "different"
    assert check.sentence == "800 novel images instead of 828"


def test_counts_that_print_alike_agree() -> None:
    benchmark = find_benchmark("ImageNet")
    assert benchmark.base == Half(images=25_000, correct=18_108)
    one_more = as_published(benchmark).model_copy(update={"base_right": 18_107})
    assert check_counts(benchmark, one_more, REAL).state == "equal"


def test_another_encoder_is_not_checked_unless_asked() -> None:
    benchmark = find_benchmark("DTD")
    check = check_counts(benchmark, as_published(benchmark), "open_clip:ViT-B-16/mine.pt")
    assert check.state == "not checked"
    assert "is not open_clip" in check.sentence
    asked = check_counts(
        benchmark, as_published(benchmark), "open_clip:ViT-B-16/mine.pt", always=True
    )
    assert asked.state == "equal"


def test_nothing_is_checked_where_nothing_is_published() -> None:
    benchmark = find_benchmark("DTD")
    tested = as_published(benchmark)
    assert check_counts(None, tested, REAL).state == "not checked"
    assert check_counts(replace(benchmark, base=None), tested, REAL).state == "not checked"
