import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ipo_dspy.datasets import (
    BENCHMARKS,
    Benchmark,
    check_data,
    describe_states,
    find_benchmark,
)
from ipo_dspy.datasets.check import fetch_command
from ipo_dspy.errors import DataError


@pytest.fixture
def flowers(tmp_path: Path, lay_out: Any) -> Benchmark:
    """Flowers102 on disk, complete but for its size."""
    return lay_out(find_benchmark("Flowers102"), tmp_path)


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda b: b.name)
def test_a_benchmark_with_all_its_images_is_complete(
    benchmark: Benchmark, tmp_path: Path, lay_out: Any
) -> None:
    [state] = check_data(tmp_path, [lay_out(benchmark, tmp_path)])
    assert (state.status, state.faults, state.advice) == ("complete", (), ())


def test_an_empty_folder_lacks_everything_and_is_told_where_to_get_it(tmp_path: Path) -> None:
    states = check_data(tmp_path)
    assert [state.benchmark for state in states] == list(BENCHMARKS)
    for state in states:
        assert state.status == "absent"
        assert state.missing == state.benchmark.parts
        needs = [line.partition(": ") for line in state.advice if line.startswith("needs ")]
        named = ", ".join(parts.removeprefix("needs ") for parts, _, _ in needs)
        assert named == ", ".join(part.path for part in state.benchmark.parts)
        assert all("https://" in source or "a mirror" in source for _, _, source in needs)
    lines = describe_states(states)
    assert lines[-1] == "0 of 15 datasets are complete."
    assert "{" not in "".join(lines)
    text = "\n".join(lines)
    assert "needs split_zhou_OxfordFlowers.json: a file on Google Drive, linked in https://" in text
    assert "fetch('OxfordPets', " in text
    assert "fetch('StanfordCars', " not in text


def test_a_partial_folder_says_what_it_has_and_needs(
    flowers: Benchmark, tmp_path: Path, lay_out: Any
) -> None:
    shutil.rmtree(tmp_path / "oxford_flowers/jpg")
    pets = lay_out(find_benchmark("OxfordPets"), tmp_path)
    (tmp_path / "oxford_pets/split_zhou_OxfordPets.json").unlink()
    states = check_data(tmp_path, [flowers, pets, find_benchmark("DTD")])
    assert [state.status for state in states] == ["partial", "partial", "absent"]
    assert [[part.path for part in state.missing] for state in states] == [
        ["jpg"],
        ["split_zhou_OxfordPets.json"],
        ["images", "split_zhou_DescribableTextures.json"],
    ]
    assert states[0].advice[-1].startswith("type: python -c ")
    assert not any("type:" in line for line in states[1].advice)
    lines = describe_states(states)
    assert "    has split_zhou_OxfordFlowers.json" in lines
    assert lines[-1] == "0 of 3 datasets are complete."


def test_images_that_are_listed_and_not_there_are_counted(
    flowers: Benchmark, tmp_path: Path
) -> None:
    for name in ("train_3_0.jpg", "test_0_2.jpg"):
        (tmp_path / "oxford_flowers/jpg" / name).unlink()
    [state] = check_data(tmp_path, [flowers])
    assert state.status == "partial"
    [fault] = state.faults
    assert fault.startswith("2 of 45 listed images are not in ")
    assert "such as train_3_0.jpg; remove that folder" in fault
    assert f"    {fault}" in describe_states([state])


def test_other_counts_than_published_are_told(flowers: Benchmark, tmp_path: Path) -> None:
    [state] = check_data(tmp_path, [find_benchmark("Flowers102")])
    assert state.status == "partial"
    assert [fault.partition(";")[0] for fault in state.faults] == [
        "5 classes instead of the published 102",
        "20 training images instead of the published 4,093",
        "10 validation images instead of the published 1,633",
        "15 test images instead of the published 2,463",
    ]


@pytest.mark.parametrize("content", ['{"train": [["a.jpg", 0', json.dumps({"annotations": []})])
def test_a_damaged_split_file_is_a_fault(flowers: Benchmark, tmp_path: Path, content: str) -> None:
    (tmp_path / "oxford_flowers/split_zhou_OxfordFlowers.json").write_text(content)
    [state] = check_data(tmp_path, [flowers])
    assert state.status == "partial"
    [fault] = state.faults
    assert "split_zhou_OxfordFlowers.json is no" in fault


def test_a_missing_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; check the path"):
        check_data(tmp_path / "nowhere")


def test_a_file_is_no_root(flowers: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"json is a file; give the folder that holds"):
        check_data(tmp_path / "oxford_flowers/split_zhou_OxfordFlowers.json")


@pytest.mark.parametrize("benchmark", BENCHMARKS, ids=lambda b: b.name)
def test_the_folder_of_a_dataset_is_no_root(
    benchmark: Benchmark, tmp_path: Path, lay_out: Any
) -> None:
    lay_out(benchmark, tmp_path)
    with pytest.raises(DataError) as caught:
        check_data(tmp_path / benchmark.folder)
    assert f"is the folder of {benchmark.name} itself" in str(caught.value)
    assert str(caught.value).endswith(str(tmp_path))


def test_a_renamed_folder_of_a_dataset_is_known_by_its_split_file(
    flowers: Benchmark, tmp_path: Path
) -> None:
    (tmp_path / "oxford_flowers").rename(tmp_path / "my flowers")
    with pytest.raises(DataError, match="my flowers is the folder of Flowers102 itself"):
        check_data(tmp_path / "my flowers")


def test_a_root_too_high_is_answered_with_the_folder_below(
    flowers: Benchmark, tmp_path: Path
) -> None:
    (tmp_path / "above").mkdir()
    (tmp_path / "oxford_flowers").rename(tmp_path / "above/oxford_flowers")
    with pytest.raises(DataError, match=f"give {tmp_path}/above$"):
        check_data(tmp_path)


def test_a_folder_of_other_things_has_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/1.jpg").touch()
    assert {state.status for state in check_data(tmp_path)} == {"absent"}


@pytest.mark.parametrize("folder", ["my data", """it's "a" $b"""])
@pytest.mark.slow
def test_the_command_to_type_fetches_into_the_root(
    folder: str, tmp_path: Path, lay_out: Any
) -> None:
    eurosat = lay_out(find_benchmark("EuroSAT"), tmp_path / folder)
    command = fetch_command(eurosat, tmp_path / folder).replace("python", sys.executable, 1)
    # The images are there, so that nothing is left to fetch; from another root it would fail.
    subprocess.run(["/bin/sh", "-c", command], env={"https_proxy": "127.0.0.1:9"}, check=True)
