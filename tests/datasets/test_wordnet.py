import shutil
from pathlib import Path
from typing import Any

import pytest

from ipo_dspy.datasets import Benchmark, find_benchmark, write_wordnet_names
from ipo_dspy.datasets.wordnet import NumberedFolders, WordNetFolders
from ipo_dspy.errors import DataError


@pytest.fixture
def imagenet(tmp_path: Path, lay_out: Any) -> Benchmark:
    benchmark = find_benchmark("ImageNet")
    lay_out(benchmark, tmp_path)
    return benchmark


def test_labels_are_the_sorted_folders_and_images_are_sorted(
    imagenet: Benchmark, tmp_path: Path
) -> None:
    (tmp_path / "imagenet/images/val/n00000001/.hidden").touch()
    (tmp_path / "imagenet/images/val/.cache").mkdir()
    (tmp_path / "imagenet/images/val/n00000001/10.JPEG").touch()
    lists = imagenet.load(tmp_path).lists
    assert lists.classnames[:2] == ("apse indoor", "Bell")
    assert lists.test[:3] == tuple((f"val/n00000000/{n}.JPEG", 0) for n in range(3))
    assert [path for path, label in lists.test if label == 1] == [
        f"val/n00000001/{name}.JPEG" for name in ("0", "1", "10", "2")
    ]
    assert lists.train[0] == ("train/n00000000/0.JPEG", 0)
    assert lists.val == ()


def test_imagenet_without_training_images_still_tests(imagenet: Benchmark, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "imagenet/images/train")
    data = imagenet.load(tmp_path)
    assert len(data.test) == 15
    with pytest.raises(DataError, match="has no training images"):
        data.few_shot(1, seed=1)


def test_other_classes_to_train_than_to_test_are_refused(
    imagenet: Benchmark, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "imagenet/images/train/n00000002")
    with pytest.raises(DataError, match="hold other class folders; unpack both again"):
        imagenet.load(tmp_path)


def test_a_folder_without_a_name_is_refused(imagenet: Benchmark, tmp_path: Path) -> None:
    (tmp_path / "imagenet/images/val/extra").mkdir()
    with pytest.raises(DataError, match=r"val/extra has no line in classnames\.txt"):
        imagenet.load(tmp_path)


def test_variants_take_imagenets_class_names_where_they_have_none(
    imagenet: Benchmark, tmp_path: Path
) -> None:
    folder = tmp_path / "imagenet-rendition"
    for number in ("n00000003", "n00000001"):
        (folder / "imagenet-r" / number).mkdir(parents=True)
        (folder / "imagenet-r" / number / "art_1.jpg").touch()
    lists = WordNetFolders("imagenet-r").read(folder)
    assert lists.classnames == ("Bell", "Dog")
    assert lists.test == (("n00000001/art_1.jpg", 0), ("n00000003/art_1.jpg", 1))
    (tmp_path / "imagenet/classnames.txt").unlink()
    with pytest.raises(DataError, match=r"there is no file .*rendition/classnames\.txt or "):
        WordNetFolders("imagenet-r").read(folder)


def test_numbered_folders_follow_the_sorted_wordnet_numbers(tmp_path: Path) -> None:
    (tmp_path / "classnames.txt").write_text(
        "".join(f"n{n:08} name {n}\n" for n in reversed(range(12)))
    )
    for number in range(12):
        (tmp_path / "images" / str(number)).mkdir(parents=True)
        (tmp_path / "images" / str(number) / "x.jpeg").touch()
    lists = NumberedFolders("images").read(tmp_path)
    assert lists.classnames == tuple(f"name {n}" for n in range(12))
    assert lists.test == tuple((f"{n}/x.jpeg", n) for n in range(12))


def test_a_missing_numbered_folder_is_told(tmp_path: Path, lay_out: Any) -> None:
    benchmark = find_benchmark("ImageNetV2")
    lay_out(benchmark, tmp_path)
    shutil.rmtree(tmp_path / "imagenetv2/imagenetv2-matched-frequency-format-val/3")
    with pytest.raises(DataError, match=r"holds 4 folders, but .* expected the folders 0 to 4"):
        benchmark.load(tmp_path)


def test_class_names_of_clip_are_written_for_the_thousand_folders(tmp_path: Path) -> None:
    for number in range(1000):
        folder = tmp_path / f"imagenet/images/val/n{number:08}"
        folder.mkdir(parents=True)
        (folder / "1.JPEG").touch()
    file = write_wordnet_names(tmp_path)
    assert file.read_text().splitlines()[0] == "n00000000 tench"
    names = find_benchmark("ImageNet").load(tmp_path).lists.classnames
    assert (names[499], names[500]) == ("cleaver", "cliff dwelling")
    assert (names[657], names[744]) == ("missile", "missile_")
    assert (names[836], names[837]) == ("sunglasses", "sunglasses_")


def test_class_names_are_not_written_for_other_folders(imagenet: Benchmark, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds 5 folders; expected those of the 1000 classes"):
        write_wordnet_names(tmp_path)
