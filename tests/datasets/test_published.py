import pytest

from ipo_dspy.datasets import BASE_TO_NOVEL, published_prompts
from ipo_dspy.errors import ArgumentError
from ipo_dspy.prompts.template import Template


@pytest.mark.parametrize("source", ["poster", "table17", "iclr16", "coop"])
def test_each_benchmark_has_one_template(source: str) -> None:
    prompts = published_prompts(source)
    assert set(prompts) == {benchmark.name for benchmark in BASE_TO_NOVEL}
    for text in prompts.values():
        assert Template(text).text == text


def test_an_unknown_publication_is_refused() -> None:
    with pytest.raises(ArgumentError, match="poster"):
        published_prompts("iclr")
