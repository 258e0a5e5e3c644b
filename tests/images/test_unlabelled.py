import os
from pathlib import Path

import pytest
from PIL import Image

from ipo_dspy import DataError, find_images


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8)).save(path)
    return path


def test_images_count_however_deep_they_lie_and_other_files_are_told(tmp_path: Path) -> None:
    deep, flat = picture(tmp_path / "a/b/c/deep.png"), picture(tmp_path / "flat.JPG")
    (tmp_path / "notes.txt").write_text("none")
    found = find_images(tmp_path)
    assert set(found.files) == {deep, flat}
    assert [each.path.name for each in found.left_out] == ["notes.txt"]


def test_files_folders_and_tables_give_each_image_once(tmp_path: Path) -> None:
    one, two = picture(tmp_path / "one.png"), picture(tmp_path / "two.png")
    table = tmp_path / "list.csv"
    table.write_text("path\ntwo.png\none.png\n")
    assert find_images(two, table, tmp_path).files == (two, one)


def test_what_is_named_is_an_image_whatever_its_ending(tmp_path: Path) -> None:
    odd = picture(tmp_path / "scan.png").rename(tmp_path / "scan")
    assert find_images(odd).files == (odd,)


def test_heic_is_found_whether_it_can_be_read_or_not(tmp_path: Path) -> None:
    (tmp_path / "phone.HEIC").write_bytes(b"no image")
    assert len(find_images(tmp_path)) == 1


def test_names_that_are_no_utf8_are_found(tmp_path: Path) -> None:
    picture(tmp_path / "x.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    assert len(find_images(tmp_path)) == 1


@pytest.mark.parametrize("source", ["nowhere", "empty"])
def test_no_images_are_an_error(tmp_path: Path, source: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        find_images(tmp_path / source)
