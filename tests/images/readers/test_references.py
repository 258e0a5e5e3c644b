import io
import tarfile
import time
import uuid
from pathlib import Path

import fsspec
import PIL.Image
import pytest

from ipo_dspy.errors import DataError, UnreadableImage
from ipo_dspy.images.image import content_hash, image_key, open_image
from ipo_dspy.images.readers import references
from ipo_dspy.images.readers.references import image_references
from ipo_dspy.images.remote import RemoteImage


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("L", (4, 4), shade).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(file: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def shades(data: str | Path) -> list[int]:
    return [open_image(image).getpixel((0, 0))[0] for image in image_references(data)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.png").write_bytes(png(10))
    (tmp_path / "a" / "2.png").write_bytes(png(20))
    (tmp_path / "a" / "notes.txt").write_text("no image")
    write_tar(tmp_path / "shard.tar", {"x/3.png": png(30), "x/3.json": b"{}", "4.png": png(40)})
    return tmp_path


def test_a_folder_of_any_layout_with_shards(folder: Path) -> None:
    assert shades(folder) == [20, 10, 30, 40]


def test_a_tar_file_and_a_pattern(folder: Path) -> None:
    assert shades(folder / "shard.tar") == [30, 40]
    assert shades(f"{folder}/*.tar") == [30, 40]


def test_a_url_of_a_folder(folder: Path) -> None:
    assert sorted(shades(f"file://{folder}")) == [10, 20, 30, 40]


def test_an_object_store() -> None:
    root = f"/{uuid.uuid4().hex}"
    store = fsspec.filesystem("memory")
    store.pipe_file(f"{root}/b.png", png(2))
    store.pipe_file(f"{root}/a.png", png(1))
    assert shades(f"memory:/{root}") == [1, 2]
    [first] = image_references(f"memory:/{root}/a.png")
    assert content_hash(first) == content_hash(RemoteImage(f"memory:/{root}/a.png"))


def test_a_table_of_paths_and_addresses(folder: Path) -> None:
    table = folder / "images.csv"
    table.write_text(f"path\na/2.png\nfile://{folder}/a/b/1.png\n")
    assert shades(table) == [20, 10]


def test_a_cut_tar_costs_what_is_lost_alone(folder: Path) -> None:
    shard = folder / "shard.tar"
    shard.write_bytes(shard.read_bytes()[:1800])
    assert shades(shard) == [30]


def test_an_image_that_ends_early_is_named(folder: Path) -> None:
    first, _ = image_references(folder / "shard.tar")
    (folder / "shard.tar").write_bytes(b"short")
    with pytest.raises(UnreadableImage, match=r"3\.png"):
        open_image(first)


def test_versions_tell_objects_apart_once_they_are_settled(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [fresh, _] = image_references(folder / "shard.tar")
    assert fresh.version == ""
    monkeypatch.setattr(references, "_SETTLED_SECONDS", 0.0)
    time.sleep(0.01)
    before, other = image_references(folder / "shard.tar")
    assert image_key(before) != image_key(other)
    write_tar(folder / "shard.tar", {"x/3.png": png(31), "4.png": png(41), "5.png": png(51)})
    after = next(iter(image_references(folder / "shard.tar")))
    assert image_key(before) != image_key(after)


@pytest.mark.parametrize("data", ["nowhere", "memory://nowhere", "unknown://bucket/images"])
def test_nothing_there_is_an_error(data: str) -> None:
    with pytest.raises(DataError, match=r"nowhere|unknown"):
        list(image_references(data))
