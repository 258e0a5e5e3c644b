from dataclasses import replace

import pytest

from benchmarks.base_to_novel.outcomes import Counted
from benchmarks.base_to_novel.published_counts import OPENAI_VIT_B_16, check_counts
from ipo_dspy.datasets import BASE_TO_NOVEL, Benchmark, Half, find_benchmark

REAL = OPENAI_VIT_B_16[0]


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
    assert check.state == "agrees"


def test_other_counts_differ_by_so_many_images() -> None:
    benchmark = find_benchmark("DTD")
    tested = as_published(benchmark)
    wrong = tested.model_copy(update={"base_right": tested.base_right + 3})
    assert check_counts(benchmark, wrong, REAL).state == "differs"
    assert check_counts(benchmark, wrong, REAL).sentence == "+3 base images right, 460 published"
    both = wrong.model_copy(update={"novel_right": tested.novel_right - 1})
    assert check_counts(benchmark, both, REAL).sentence.endswith(
        "and -1 novel images right, 496 published"
    )


def test_another_number_of_images_differs() -> None:
    benchmark = find_benchmark("DTD")
    fewer = as_published(benchmark).model_copy(update={"novel_images": 800})
    check = check_counts(benchmark, fewer, REAL)
    assert check.state == "differs"
    assert check.sentence == "800 novel images instead of 828"


def test_counts_that_print_alike_agree() -> None:
    benchmark = find_benchmark("ImageNet")
    assert benchmark.base == Half(images=25_000, correct=18_108)
    one_more = as_published(benchmark).model_copy(update={"base_right": 18_107})
    assert check_counts(benchmark, one_more, REAL).state == "agrees"


def test_another_encoder_is_not_checked_unless_asked() -> None:
    benchmark = find_benchmark("DTD")
    check = check_counts(benchmark, as_published(benchmark), "open_clip:ViT-B-16/mine.pt")
    assert check.state == "not checked"
    assert "not OpenAI's ViT-B/16" in check.sentence
    asked = check_counts(
        benchmark, as_published(benchmark), "open_clip:ViT-B-16/mine.pt", always=True
    )
    assert asked.state == "agrees"


def test_nothing_is_checked_where_nothing_is_published() -> None:
    benchmark = find_benchmark("DTD")
    tested = as_published(benchmark)
    assert check_counts(None, tested, REAL).state == "not checked"
    assert check_counts(replace(benchmark, base=None), tested, REAL).state == "not checked"
