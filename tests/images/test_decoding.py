import io
import os
import struct
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ipo_dspy.errors import UnreadableImage
from ipo_dspy.images import decoding
from ipo_dspy.images.decoding import formats, image_suffixes
from ipo_dspy.images.image import ImageFile, check_image, content_hash, open_image

READERS: list[Callable[[Path], object]] = [
    open_image,
    check_image,
    lambda path: ImageFile(path).format(),
]


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF of entries of tag, type, count and value."""
    packed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return b"Exif\0\0" + header + packed + bytes(44)


@pytest.mark.parametrize("read", READERS)
def test_pipes_and_devices_are_not_opened(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "a.png")
    for path in (tmp_path / "a.png", Path("/dev/zero"), tmp_path):
        with pytest.raises(UnreadableImage, match="folder, a pipe or a device"):
            read(path)


@pytest.mark.parametrize("read", READERS)
def test_postscript_is_not_parsed_whatever_it_is_called(
    tmp_path: Path, read: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    content = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    for name in ("a.eps", "a.png"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UnreadableImage):
            read(tmp_path / name)


def test_formats_are_pictures_that_pillow_decodes_by_itself() -> None:
    assert {"JPEG", "PNG", "WEBP", "TIFF", "JPEG2000", "PPM", "TGA"} <= set(formats())
    assert not {"EPS", "IPTC", "WMF", "MPEG", "HDF5", "GRIB"} & set(formats())
    assert {".jpg", ".jfif", ".jpe", ".mpo", ".ppm", ".jp2", ".tga"} <= image_suffixes()
    assert not {".eps", ".pdf", ".h5", ".txt", ".mpg"} & image_suffixes()


@pytest.mark.parametrize("suffix", ["ppm", "jp2", "tga", "avif", "bmp", "pcx", "ico", "dds", "qoi"])
def test_files_of_many_formats_are_read_and_named_when_cut(tmp_path: Path, suffix: str) -> None:
    if f".{suffix}" not in image_suffixes():
        pytest.skip(f"this Pillow reads no {suffix}")
    path = tmp_path / f"a.{suffix}"
    Image.linear_gradient("L").convert("RGB").save(path)
    assert open_image(path).mode == "RGB"
    whole = path.read_bytes()
    for length in (0, 5, len(whole) // 3):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableImage, match=f"a.{suffix} cannot be read"):
            open_image(path)


@pytest.mark.slow
@settings(max_examples=150)
@given(
    suffix=st.sampled_from(["AVIF", "DDS", "PNG", "JPEG", "WEBP", "TIFF", "GIF", "JPEG2000"]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=6),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_give_an_image_or_the_one_error(
    suffix: str, changes: list[tuple[int, int]]
) -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((24, 16)).convert("RGB").save(buffer, suffix)
    content = bytearray(buffer.getvalue())
    for place, value in changes:
        content[place % len(content)] = value
    # Any other error is a failure.
    with suppress(UnreadableImage):
        assert decoding.decode(io.BytesIO(bytes(content)), "it").mode == "RGB"


def test_memory_that_runs_out_is_the_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", exhausted)
    with pytest.raises(UnreadableImage, match="MemoryError"):
        open_image(tmp_path / "a.png")


values = st.sampled_from([b"\6\0\0\0", b"\xff\xff\xff\xff", b"\x20\0\0\0", bytes(4)])
entries = st.tuples(
    st.sampled_from([0x0112, 0x8769, 0x011A, 0x0128, 0x8825, 0x927C]),
    st.integers(0, 14),
    st.sampled_from([0, 1, 2, 1000, 2**31]),
    values,
)


@pytest.mark.slow
@given(
    st.lists(entries, min_size=1, max_size=4).map(lambda made: exif(*made))
    | st.binary(max_size=90),
    st.sampled_from(["JPEG", "PNG", "WEBP"]),
)
@settings(max_examples=300)
@pytest.mark.filterwarnings("ignore")
def test_no_odd_exif_stops_a_readable_photo(metadata: bytes, suffix: str) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(buffer, suffix, exif=metadata)
    assert sorted(decoding.decode(buffer, "it").size) == [20, 40]
    decoding.check(buffer, "it")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_turned_as_pillow_turns_it(orientation: int) -> None:
    from PIL import ImageOps

    buffer = io.BytesIO()
    gradient = Image.linear_gradient("L").resize((24, 16)).convert("RGB")
    gradient.save(buffer, "PNG", exif=exif((0x0112, 3, 1, struct.pack("<I", orientation))))
    with Image.open(buffer) as image:
        expected = ImageOps.exif_transpose(image)
    assert decoding.decode(buffer, "it").tobytes() == expected.tobytes()


def test_warnings_that_are_errors_stop_no_image() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), "red").save(buffer, "JPEG", exif=b"Exif\x00\x00MM\x00*garbage")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoding.decode(buffer, "it").size == (40, 20)


@pytest.mark.parametrize("size", [(1, 400_000), (400_000, 1)])
def test_an_image_far_longer_than_wide_is_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    image = Image.new("1", size)
    image.save(tmp_path / "a.png")
    for read in READERS:
        with pytest.raises(UnreadableImage, match="400,000"):
            read(tmp_path / "a.png")
    with pytest.raises(UnreadableImage, match="400,000"):
        open_image(image)


def test_a_very_large_image_comes_smaller_and_upright(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "LARGE_PIXELS", 100)
    for suffix in ("PNG", "JPEG"):
        buffer = io.BytesIO()
        turned = exif((0x0112, 3, 1, b"\6\0\0\0"))
        Image.new("RGB", (40, 20), "red").save(buffer, suffix, exif=turned)
        image = decoding.decode(buffer, "it")
        assert image.width * image.height <= 100
        assert 1.5 < image.height / image.width < 2.5


def test_many_threads_never_hold_more_than_the_memory_there_is() -> None:
    memory = decoding._Memory(10)
    held: list[int] = []
    most: list[int] = []

    def work(needed: int) -> None:
        for _ in range(50):
            with memory.taken(needed):
                held.append(min(needed, 10))
                most.append(sum(held))
                held.remove(min(needed, 10))

    threads = [threading.Thread(target=work, args=(needed,)) for needed in (1, 3, 4, 7, 25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 10


@pytest.mark.parametrize("read", [*READERS, content_hash])
def test_a_file_larger_than_any_picture_is_not_read(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(decoding.MOST_FILE + 1)
    with pytest.raises(UnreadableImage, match="bytes"):
        read(path)


@pytest.mark.parametrize("read", [*READERS, content_hash])
def test_files_that_say_they_are_empty_are_not_read(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    (tmp_path / "a.png").touch()
    # Reading this one waits for messages of the system.
    for path in (tmp_path / "a.png", *filter(Path.exists, [Path("/proc/kmsg")])):
        with pytest.raises(UnreadableImage, match="empty"):
            read(path)


def test_what_is_no_image_is_not_read_whole(tmp_path: Path) -> None:
    class Counted(io.BytesIO):
        most = 0

        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            self.most = max(self.most, len(content))
            return content

    file = Counted(bytes(10**6))
    with pytest.raises(UnreadableImage):
        decoding.decode(file, "it")
    assert file.most < 10**5


def test_large_files_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    monkeypatch.setattr(decoding, "LARGE_FILE", len(buffer.getvalue()) - 1)
    small = io.BytesIO()
    Image.new("1", (1, 1)).save(small, "PNG")
    done = threading.Event()

    def work() -> None:
        decoding.decode(buffer, "large")
        done.set()

    with decoding._large_files:
        thread = threading.Thread(target=work)
        thread.start()
        assert decoding.decode(small, "small").size == (1, 1)
        assert not done.wait(0.1)
    thread.join()
    assert done.is_set()


def test_memory_is_booked_for_what_a_format_holds_more_than_its_picture() -> None:
    def booked(suffix: str) -> int:
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64)).save(buffer, suffix)
        return decoding._bytes_for(decoding._opened(buffer)) // 64**2

    assert booked("PNG") == 8
    assert booked("WEBP") >= 16
    assert booked("JPEG2000") >= 20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_of_large_images_goes_back_to_the_system(tmp_path: Path) -> None:
    for number in range(4):
        Image.new("RGB", (7_000, 7_000)).save(tmp_path / f"{number}.png")
    code = (
        "import sys; from pathlib import Path\n"
        "from ipo_dspy.images.image import open_image\n"
        "def held(): return int(Path('/proc/self/statm').read_text().split()[1]) * 4096\n"
        "import numpy\n"
        "before = held()\n"
        "for path in Path(sys.argv[1]).iterdir():\n"
        "    open_image(path)\n"
        "print((held() - before) // 2**20)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) < 100


@pytest.mark.slow
def test_small_files_that_claim_much_cost_little_memory(tmp_path: Path) -> None:
    for number in range(6):
        Image.new("1", (12_000, 12_000)).save(tmp_path / f"{number}.png")
        Image.new("1", (1, 400_000)).save(tmp_path / f"long{number}.png")
    code = (
        "import sys, resource; from pathlib import Path\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from ipo_dspy.images.image import open_image\n"
        "from ipo_dspy.errors import UnreadableImage\n"
        "def read(path):\n"
        "    try: return open_image(path).size\n"
        "    except UnreadableImage: return None\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "with ThreadPoolExecutor(6) as pool:\n"
        "    sizes = [size for size in pool.map(read, sorted(Path(sys.argv[1]).iterdir()))]\n"
        "assert sizes.count(None) == 6, sizes\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) < decoding.BYTES_AT_ONCE // 2**20
