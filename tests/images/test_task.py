from pathlib import Path

import pytest
from PIL import Image

from ipo_dspy.errors import ArgumentError, DataError
from ipo_dspy.images.readers import read_images
from ipo_dspy.images.task import MOST_SHOTS, Sampling, folder_task, task_name

TEMPLATE = "a photo of a <CLASS>."


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Four classes of twenty pictures, no two alike."""
    for label, name in enumerate(("ant", "bee", "cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(20):
            colour = (60 * label, 10 * number, 7)
            Image.new("RGB", (4, 4), colour).save(tmp_path / "photos" / name / f"{number:02}.png")
    return tmp_path / "photos"


def test_own_images_are_divided_as_their_split_says(photos: Path) -> None:
    task = folder_task(photos, TEMPLATE, Sampling(seed=3))
    kept, held_out = read_images(photos).split(0.3, seed=3)
    assert task.train == kept.few_shot(MOST_SHOTS, seed=3)
    assert task.tests == {"held-out images": held_out}
    assert (task.name, task.template, task.seed, task.remarks) == ("photos", TEMPLATE, 3, ())


def test_novel_classes_are_tested_apart_and_never_searched_on(photos: Path) -> None:
    task = folder_task(photos, TEMPLATE, Sampling(novel=True, shots=2))
    assert task.train.classnames == ("ant", "bee")
    assert len(task.train) == 4
    assert list(task.tests) == ["base", "novel"]
    assert task.tests["novel"].classnames == ("cat", "dog")


def test_no_held_out_images_are_a_remark_and_no_test(photos: Path) -> None:
    task = folder_task(photos, TEMPLATE, Sampling(hold_out=0))
    assert task.tests == {}
    assert len(task.remarks) == 1


def test_classes_too_few_for_halves_are_refused(photos: Path) -> None:
    for number in range(20):
        (photos / "dog" / f"{number:02}.png").unlink()
    (photos / "dog").rmdir()
    with pytest.raises(DataError, match="at least 4 classes"):
        folder_task(photos, TEMPLATE, Sampling(novel=True))


@pytest.mark.parametrize("wrong", [{"shots": 0}, {"hold_out": 1.0}, {"hold_out": -0.1}])
def test_a_sampling_out_of_its_range_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_a_task_is_named_after_its_folder_or_table() -> None:
    assert task_name(None) == "demo"
    assert task_name(Path("some/pets.v2/")) == "pets.v2"
    assert task_name(Path("some/pets.csv")) == "pets"
