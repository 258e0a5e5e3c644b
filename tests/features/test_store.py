import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from safetensors.torch import save_file

from ipo_dspy import load_encoder
from ipo_dspy.errors import EncoderError, UnreadableImage
from ipo_dspy.features import image_batches, store
from ipo_dspy.features.backends import EmbeddingJob, LocalBackend, Shard
from ipo_dspy.features.cache import clear, info
from ipo_dspy.features.image_batches import encode_images
from ipo_dspy.features.store import FeatureStore
from ipo_dspy.images.image import ImageFile
from ipo_dspy.testing import ColourEncoder

LARGE = 10**9


class Grayness(ColourEncoder):
    """Tells how light a picture is, and counts the pictures it looked at; its own backend."""

    def __init__(self, spec: str = "grayness", image_fingerprint: str = "grayness 1") -> None:
        super().__init__()
        self.spec = spec
        self.image_fingerprint = image_fingerprint
        self.looked_at = 0

    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        for start in range(0, len(job.images), job.shard_size):
            numbers = range(start, min(start + job.shard_size, len(job.images)))
            yield Shard(numbers, self.encode([job.images[number] for number in numbers]))

    def encode(self, images: Sequence[Any]) -> torch.Tensor:
        self.looked_at += len(images)
        values = [float(PIL.Image.open(image.path).getpixel((0, 0))) for image in images]
        return torch.stack([torch.tensor([value, 255.0 - value, 1.0]) for value in values])


@pytest.fixture
def encoder() -> Grayness:
    return Grayness()


@pytest.fixture
def pictures(tmp_path: Path) -> list[ImageFile]:
    return draw(tmp_path / "pictures", range(40))


def draw(folder: Path, values: Sequence[int]) -> list[ImageFile]:
    folder.mkdir(exist_ok=True)
    for value in values:
        PIL.Image.new("L", (2, 2), value).save(folder / f"{value}.png")
    return [ImageFile(folder / f"{value}.png") for value in values]


def fetch(
    folder: Path, encoder: Grayness, images: Sequence[ImageFile], limit: int = LARGE
) -> torch.Tensor:
    """Fetch as a process does that has just begun."""
    return FeatureStore(folder, encoder, limit).fetch(images, encoder)[:]


def grays(features: torch.Tensor) -> list[float]:
    return features[:, 0].tolist()


def test_images_are_encoded_once(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]
) -> None:
    first = fetch(tmp_path, encoder, pictures)
    again = fetch(tmp_path, encoder, pictures)

    assert grays(first) == list(range(40))
    assert torch.equal(first, again)
    assert encoder.looked_at == 40


def test_any_images_are_found_again_in_any_order(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]
) -> None:
    fetch(tmp_path, encoder, pictures[:30])
    fetch(tmp_path, encoder, pictures[30:])
    order = np.random.default_rng(0).permutation(40)[:25].tolist()

    assert grays(fetch(tmp_path, encoder, [pictures[i] for i in order])) == order
    assert encoder.looked_at == 40


def test_only_images_that_were_added_are_encoded(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]
) -> None:
    fetch(tmp_path, encoder, pictures)
    added = draw(tmp_path / "pictures", [200, 201])
    mixed = [added[0], *pictures[:5], added[1], *pictures[5:]]

    assert grays(fetch(tmp_path, encoder, mixed))[:8] == [200, 0, 1, 2, 3, 4, 201, 5]
    assert encoder.looked_at == 42


def test_an_image_goes_by_its_content_not_by_its_name(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]
) -> None:
    fetch(tmp_path, encoder, pictures)
    copies = draw(tmp_path / "copies", range(40))
    assert grays(fetch(tmp_path, encoder, copies)) == list(range(40))
    assert encoder.looked_at == 40

    PIL.Image.new("L", (2, 2), 99).save(pictures[3].path)
    assert grays(fetch(tmp_path, encoder, pictures[2:5])) == [2, 99, 4]


def test_an_image_that_comes_twice_is_encoded_once(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]
) -> None:
    twice = [pictures[5], pictures[6], pictures[5]]
    assert grays(fetch(tmp_path, encoder, twice)) == [5, 6, 5]
    assert encoder.looked_at == 2


def test_many_images_are_several_files_and_read_in_slices(
    tmp_path: Path,
    encoder: Grayness,
    pictures: list[ImageFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "IMAGES_PER_FILE", 16)
    stored = FeatureStore(tmp_path, encoder, LARGE).fetch(pictures, encoder)

    assert len(list(tmp_path.glob("features/*/*.safetensors"))) == 3
    assert len(stored) == 40
    assert grays(stored[14:34]) == list(range(14, 34))
    assert grays(stored[3:5]) == [3, 4]


def test_what_was_written_before_a_failure_is_kept(
    tmp_path: Path,
    encoder: Grayness,
    pictures: list[ImageFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "IMAGES_PER_FILE", 16)

    class FailsLate(Grayness):
        def encode(self, images: Sequence[Any]) -> torch.Tensor:
            if self.looked_at == 32:
                raise KeyboardInterrupt
            return super().encode(images)

    with pytest.raises(KeyboardInterrupt):
        FeatureStore(tmp_path, encoder, LARGE).fetch(pictures, FailsLate())
    fetch(tmp_path, encoder, pictures)
    assert encoder.looked_at == 8


def test_encoders_never_mix(tmp_path: Path, pictures: list[ImageFile]) -> None:
    one, other = Grayness(), Grayness(image_fingerprint="the same with other weights")
    fetch(tmp_path, one, pictures)
    fetch(tmp_path, other, pictures)
    assert (one.looked_at, other.looked_at) == (40, 40)


def test_a_file_of_another_encoder_is_refused_by_name(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]
) -> None:
    fetch(tmp_path, encoder, pictures)
    other = Grayness("darkness", "darkness 1")
    fetch(tmp_path, other, pictures[:2])
    ours, theirs = sorted(
        tmp_path.rglob("*.safetensors"), key=lambda path: path.stat().st_size, reverse=True
    )
    moved = ours.with_name(theirs.name)
    theirs.rename(moved)

    with pytest.raises(EncoderError, match="of another encoder, darkness with the fingerp") as told:
        fetch(tmp_path, encoder, pictures)
    assert str(moved) in str(told.value)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-7])


def cut_header(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:20])


def empty(file: Path) -> None:
    file.write_bytes(b"")


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


def flip_feature(file: Path) -> None:
    """Alter the features, which lie in front of the keys in the file or behind them."""
    content = file.read_bytes()
    feature = torch.tensor([7.0, 248.0, 1.0]).numpy().tobytes()
    flip(file, content.index(feature))


def flip_key(file: Path) -> None:
    content = file.read_bytes()
    start = content.index(b'"keys":{') + len(b'"keys":{')
    first = content.index(b'"data_offsets":[', start) + len(b'"data_offsets":[')
    offset = int(content[first : content.index(b",", first)])
    header = int.from_bytes(content[:8], "little")
    flip(file, 8 + header + offset + 40)


def other_content(file: Path) -> None:
    save_file({"weights": torch.zeros(3)}, file)


@pytest.mark.parametrize(
    "damage", [cut_off, cut_header, empty, flip_feature, flip_key, other_content]
)
def test_a_damaged_file_is_noticed_and_made_anew(
    damage: Any,
    tmp_path: Path,
    encoder: Grayness,
    pictures: list[ImageFile],
    caplog: pytest.LogCaptureFixture,
) -> None:
    fetch(tmp_path, encoder, pictures)
    [file] = tmp_path.glob("features/*/*.safetensors")
    damage(file)

    with caplog.at_level(logging.WARNING):
        assert grays(fetch(tmp_path, encoder, pictures)) == list(range(40))
    assert f"{file} is damaged" in caplog.text
    assert encoder.looked_at == 80
    fetch(tmp_path, encoder, pictures)
    assert encoder.looked_at == 80


def test_files_used_longest_ago_go_first(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]
) -> None:
    fetch(tmp_path, encoder, pictures[:10])
    [first] = tmp_path.glob("features/*/*.safetensors")
    fetch(tmp_path, encoder, pictures[10:20])
    [second] = set(tmp_path.glob("features/*/*.safetensors")) - {first}
    for age, file in enumerate((second, first)):
        os.utime(file, (1000 + age, 1000 + age))
    fetch(tmp_path, encoder, pictures[10:20])  # Uses the second, so the first is older now.

    fetch(tmp_path, encoder, pictures[20:30], limit=2 * first.stat().st_size)
    kept = set(tmp_path.glob("features/*/*.safetensors"))
    assert second in kept
    assert first not in kept
    assert len(kept) == 2


def test_features_larger_than_the_cache_may_be_are_still_right(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]
) -> None:
    assert grays(fetch(tmp_path, encoder, pictures, limit=0)) == list(range(40))


def test_a_folder_that_cannot_be_written_is_said_once_and_does_not_stop(
    tmp_path: Path,
    encoder: Grayness,
    pictures: list[ImageFile],
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").touch()
    with caplog.at_level(logging.WARNING):
        assert grays(fetch(tmp_path / "file", encoder, pictures)) == list(range(40))
    assert "features of 40 images cannot be kept" in caplog.text


def test_info_and_clear(tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]) -> None:
    fetch(tmp_path, encoder, pictures)
    fetch(tmp_path, Grayness("darkness", "2"), pictures[:3])

    found = info(tmp_path)
    assert {(e.spec, e.images, e.files) for e in found.encoders} == {
        ("grayness", 40, 1),
        ("darkness", 3, 1),
    }
    sizes = [file.stat().st_size for file in tmp_path.rglob("*.safetensors")]
    assert (found.images, found.bytes) == (43, sum(sizes))

    own = tmp_path / "features" / "mine.txt"
    own.write_text("mine")
    assert clear(tmp_path) == found
    assert info(tmp_path).encoders == ()
    assert own.exists()


PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import Grayness, LARGE
from ipo_dspy.images.image import ImageFile
from ipo_dspy.features import image_batches, store
from ipo_dspy.features.backends import EmbeddingJob, LocalBackend, Shard
store.IMAGES_PER_FILE = 8
encoder = Grayness()
folder, numbers = Path(sys.argv[2]), range(*map(int, sys.argv[3:5]))
images = [ImageFile(folder / "pictures" / f"{number}.png") for number in numbers]
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    cache = store.FeatureStore(folder / "cache", encoder, LARGE)
    grays = cache.fetch(images, encoder)[:][:, 0].tolist()
    assert grays == list(numbers), grays
print(encoder.looked_at)
"""


@pytest.mark.slow
def test_processes_share_a_cache_also_at_the_same_time(
    tmp_path: Path, pictures: list[ImageFile]
) -> None:
    here = str(Path(__file__).parent)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, here, str(tmp_path), str(start), str(stop)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for start, stop in ((0, 40), (0, 40), (20, 40))
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        told, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        assert int(told) <= 40

    encoder = Grayness()
    assert grays(fetch(tmp_path / "cache", encoder, pictures)) == list(range(40))
    assert encoder.looked_at == 0
    assert not list(tmp_path.rglob("*.part"))


def read_nothing(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    read: list[object] = []
    monkeypatch.setattr(image_batches, "content_hash", lambda image: read.append(image) or "0" * 64)
    return read


def test_a_second_run_reads_no_image_that_did_not_change(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_SETTLED_NS", 0)
    fetch(tmp_path, encoder, pictures)
    PIL.Image.new("L", (2, 2), 99).save(pictures[3].path)
    monkeypatch.setattr(store, "_SETTLED_NS", 10**15)
    assert grays(fetch(tmp_path, encoder, pictures[:5])) == [0, 1, 2, 99, 4]

    read = read_nothing(monkeypatch)
    others = [*pictures[:3], *pictures[4:]]
    assert grays(fetch(tmp_path, encoder, others)) == [*range(3), *range(4, 40)]
    assert read == []
    assert encoder.looked_at == 41


def test_files_that_changed_just_now_are_read_again(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one tick of the clock a change cannot be seen."""
    fetch(tmp_path, encoder, pictures)
    assert not (tmp_path / "hashes").exists()


def test_a_file_of_the_same_size_and_time_is_still_read(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_SETTLED_NS", 0)
    fetch(tmp_path, encoder, pictures)
    status = pictures[3].path.stat()
    content = pictures[4].path.read_bytes()
    assert len(content) == status.st_size
    pictures[3].path.write_bytes(content)
    os.utime(pictures[3].path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert grays(fetch(tmp_path, encoder, pictures[2:5])) == [2, 4, 4]


def test_damaged_hashes_of_files_are_made_anew(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_SETTLED_NS", 0)
    fetch(tmp_path, encoder, pictures)
    [file] = (tmp_path / "hashes").iterdir()
    flip(file, len(file.read_bytes()) - 5)
    assert grays(fetch(tmp_path, encoder, pictures)) == list(range(40))
    assert encoder.looked_at == 40
    assert info(tmp_path).hash_bytes > 0
    clear(tmp_path)
    assert info(tmp_path).bytes == 0


@pytest.mark.slow
def test_one_bad_image_costs_itself_alone(
    tmp_path: Path, pictures: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "IMAGES_PER_FILE", 16)
    encoder = load_encoder("demo")
    pictures[3].path.write_bytes(b"no picture")
    pictures[20].path.unlink()
    with pytest.raises(UnreadableImage, match=r"3\.png"):
        FeatureStore(tmp_path, encoder, LARGE).fetch(pictures, LocalBackend())
    assert info(tmp_path).images == 38
    good = [picture for number, picture in enumerate(pictures) if number not in (3, 20)]
    found = FeatureStore(tmp_path, encoder, LARGE).fetch(good, Grayness())[:]
    assert torch.equal(found, encode_images(encoder, good))


def test_shards_of_other_writers_merge_by_lying_there(
    tmp_path: Path, encoder: Grayness, pictures: list[ImageFile]
) -> None:
    one, other, both = tmp_path / "one", tmp_path / "other", tmp_path / "both"
    fetch(one, encoder, pictures[:25])
    fetch(other, encoder, pictures[15:])
    for folder in (one, other):
        shutil.copytree(folder, both, dirs_exist_ok=True)
    assert grays(fetch(both, encoder, pictures)) == list(range(40))
    assert encoder.looked_at == 50


def test_features_kept_by_version_0_1_are_found(tmp_path: Path, encoder: Grayness) -> None:
    """The file was written by the code of 0.1."""
    [written] = (Path(__file__).parent / "data").glob("*.safetensors")
    folder = tmp_path / "features" / store.short_hash(encoder.image_fingerprint.encode())
    folder.mkdir(parents=True)
    shutil.copy(written, folder)
    for value in range(3):
        PIL.Image.new("RGB", (2, 2), (value,) * 3).save(tmp_path / f"{value}.bmp")
    images = [ImageFile(tmp_path / f"{value}.bmp") for value in (2, 0, 1)]
    assert grays(fetch(tmp_path, encoder, images)) == [2, 0, 1]
    assert encoder.looked_at == 0
