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


def picture(place: Path, colour: tuple[int, int, int]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), colour).save(place)


def test_images_of_ones_own_are_tested_on_and_all_others_searched_on(
    photos: Path, tmp_path: Path
) -> None:
    for name in ("ant", "cat"):
        picture(
            tmp_path / "test" / name / "new.png", (1, 2, len(name)) if name == "ant" else (9,) * 3
        )
    picture(tmp_path / "test" / "ant" / "copy.png", (0, 10, 7))

    task = folder_task(photos, TEMPLATE, Sampling(shots=20), test=tmp_path / "test")
    assert len(task.train) == 80
    [unseen] = task.tests.values()
    assert [example.label for example in unseen.examples] == ["ant", "cat"]
    assert unseen.classnames == task.train.classnames
    assert any("copies" in remark for remark in task.remarks)


def test_classes_that_are_only_tested_on_are_named(photos: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("ant", "yak")):
        picture(tmp_path / "test" / name / "new.png", (1, 2, number))
    task = folder_task(photos, TEMPLATE, test=tmp_path / "test")
    assert task.tests["test images"].classnames == ("ant", "yak")
    assert any("yak" in remark for remark in task.remarks)
    with pytest.raises(DataError, match="yak"):
        folder_task(photos, TEMPLATE, Sampling(novel=True), test=tmp_path / "test")


def test_images_of_ones_own_are_halved_as_the_classes_are(photos: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("ant", "dog")):
        picture(tmp_path / "test" / name / "new.png", (1, 2, number))
    task = folder_task(photos, TEMPLATE, Sampling(novel=True), test=tmp_path / "test")
    assert {part: len(images) for part, images in task.tests.items()} == {"base": 1, "novel": 1}
    assert task.tests["novel"].classnames == ("cat", "dog")


def test_a_test_of_the_images_searched_on_is_refused(photos: Path) -> None:
    with pytest.raises(DataError, match="unseen"):
        folder_task(photos, TEMPLATE, test=photos)
    with pytest.raises(ArgumentError, match="hold_out"):
        folder_task(photos, TEMPLATE, Sampling(hold_out=0.5), test=photos)
