import json
import logging
from pathlib import Path

import pytest
from PIL import Image

from ipo_dspy.errors import DataError, UnreadableImage
from ipo_dspy.images.readers.folder import read_folder


def draw(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for name in ("dog/b.JPG", "dog/a.jpeg", "tabby_cat/1.png", "tabby_cat/2.webp", "ant/x.TIFF"):
        draw(tmp_path / "pets" / name)
    return tmp_path / "pets"


def paths(examples: tuple[object, ...], root: Path) -> list[str]:
    return [str(e.image.path.relative_to(root)) for e in examples]  # type: ignore[attr-defined]


def test_reads_classes_and_images_in_order_of_name(pets: Path) -> None:
    data = read_folder(pets)
    assert data.classnames == ("ant", "dog", "tabby cat")
    expected = ["ant/x.TIFF", "dog/a.jpeg", "dog/b.JPG", "tabby_cat/1.png", "tabby_cat/2.webp"]
    assert paths(data.examples, pets) == expected
    assert [e.label for e in data.examples] == ["ant", "dog", "dog", "tabby cat", "tabby cat"]
    assert list(data.examples[0].inputs()) == ["image"]


def test_passes_over_hidden_files_and_what_is_no_image(pets: Path) -> None:
    for litter in ("dog/._a.jpeg", ".git/x.png", "__MACOSX/dog/x.png"):
        (pets / litter).parent.mkdir(parents=True, exist_ok=True)
        (pets / litter).write_bytes(b"litter")
    (pets / "dog/notes.txt").write_text("good dog")
    (pets / "dog/folder.png").mkdir()
    assert len(read_folder(str(pets))) == 5


@pytest.mark.parametrize(
    "name",
    ["{braces}", "<CLASS>", "snow leopard ❄", "%s {0} \\n", "猫", " ".join(["word"] * 45), "a.b"],
)
def test_carries_class_names_as_they_are(pets: Path, name: str) -> None:
    draw(pets / name / "1.png")
    data = read_folder(pets)
    assert name in data.classnames
    assert sum(e.label == name for e in data.examples) == 1


def test_display_names_come_from_a_mapping_or_a_file(pets: Path, tmp_path: Path) -> None:
    lines = tmp_path / "names.txt"
    lines.write_text("tabby_cat tabby, tabby cat\n\nunused other\n", encoding="utf-8")
    table = tmp_path / "names.json"
    table.write_text(json.dumps({"tabby_cat": "tabby, tabby cat"}))
    for names in ({"tabby_cat": "tabby, tabby cat"}, lines, str(table)):
        data = read_folder(pets, names=names)
        assert data.classnames == ("ant", "dog", "tabby, tabby cat")
        assert data.examples[-1].label == "tabby, tabby cat"


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*nowhere; check the path"):
        read_folder(tmp_path / "nowhere")


def test_file_instead_of_a_folder(pets: Path) -> None:
    with pytest.raises(DataError, match=r"b\.JPG is a file; give the folder"):
        read_folder(pets / "dog/b.JPG")


def test_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty; put one folder of images per class into it"):
        read_folder(tmp_path)


def test_images_without_class_folders(pets: Path) -> None:
    with pytest.raises(DataError, match="dog holds images but no class folders; sort them"):
        read_folder(pets / "dog")


def test_class_folder_without_images_is_named(pets: Path) -> None:
    (pets / "emu").mkdir()
    with pytest.raises(DataError, match=r"class folder .*emu has no images"):
        read_folder(pets)


def test_class_folder_of_folders_is_named(pets: Path) -> None:
    draw(pets / "emu/young/1.png")
    with pytest.raises(DataError, match=r"class folder .*emu holds folders, not images"):
        read_folder(pets)


def test_single_class(tmp_path: Path) -> None:
    draw(tmp_path / "dog/1.png")
    with pytest.raises(DataError, match=r"one class only, 'dog'; .* at least two"):
        read_folder(tmp_path)


def test_split_layout_is_explained(pets: Path, tmp_path: Path) -> None:
    root = tmp_path / "split"
    for part in ("train", "test"):
        for name in ("dog/1.png", "cat/1.png"):
            draw(root / part / name)
    with pytest.raises(DataError, match="splits test and train, not classes; give one of them"):
        read_folder(root)
    assert len(read_folder(root / "train")) == 2


def test_classes_may_be_called_train_and_test(tmp_path: Path) -> None:
    draw(tmp_path / "train/1.png")
    draw(tmp_path / "test/1.png")
    assert read_folder(tmp_path).classnames == ("test", "train")


@pytest.mark.parametrize("twin", ["Tabby_Cat", "tabby cat", "tabby__cat"])
def test_class_names_that_read_alike_name_both_folders(pets: Path, twin: str) -> None:
    draw(pets / twin / "1.png")
    with pytest.raises(DataError, match="both read") as raised:
        read_folder(pets)
    assert repr(twin) in str(raised.value)
    assert "'tabby_cat'" in str(raised.value)


def test_empty_class_name_names_the_folder(pets: Path) -> None:
    draw(pets / "__/1.png")
    with pytest.raises(DataError, match="the class '__' has an empty name"):
        read_folder(pets)


def test_truncated_image_is_named_and_left_out_only_on_request(
    pets: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = pets / "dog/a.jpeg"
    bad.write_bytes(bad.read_bytes()[:300])
    with pytest.raises(UnreadableImage, match=r"dog/a\.jpeg cannot be read.*skip_bad_images=True"):
        read_folder(pets)
    with caplog.at_level(logging.WARNING):
        data = read_folder(pets, skip_bad_images=True)
    assert len(data) == 4
    assert "dog/a.jpeg" in caplog.text


def test_class_whose_images_are_all_bad_is_an_error_all_the_same(pets: Path) -> None:
    (pets / "ant/x.TIFF").write_bytes(b"")
    with pytest.raises(DataError, match="no image of the class 'ant' can be read"):
        read_folder(pets, skip_bad_images=True)
