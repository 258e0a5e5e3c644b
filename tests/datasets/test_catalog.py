from pathlib import Path
from typing import Any

import pytest

from ipo_dspy.datasets import BASE_TO_NOVEL, BENCHMARKS, find_benchmark, load_benchmark
from ipo_dspy.errors import DataError


def test_there_are_eleven_and_four_with_names_and_folders_of_their_own() -> None:
    assert (len(BASE_TO_NOVEL), len(BENCHMARKS)) == (11, 15)
    assert len({b.name for b in BENCHMARKS}) == len({b.folder for b in BENCHMARKS}) == 15


@pytest.mark.parametrize("name", ["StanfordCars", "stanford_cars", "STANFORD-CARS"])
def test_a_benchmark_goes_by_name_or_folder(name: str) -> None:
    assert find_benchmark(name).name == "StanfordCars"


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DataError, match=r"no benchmark 'MNIST'; the names are ImageNet, Caltech"):
        find_benchmark("MNIST")


def test_loads_by_name_from_a_path_given_as_text(tmp_path: Path, lay_out: Any) -> None:
    lay_out(find_benchmark("DTD"), tmp_path)
    data = load_benchmark("dtd", str(tmp_path))
    assert data.template.text == "<CLASS> texture."
    assert (len(data.train), len(data.val), len(data.test)) == (20, 10, 15)
