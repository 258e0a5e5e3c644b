import base64
import contextlib
import copy
import io
import json
import pickle
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dspy
import numpy as np
import pytest
from PIL import Image

from ipo_dspy.errors import UnreadableImage
from ipo_dspy.images.image import (
    ImageFile,
    StoredImage,
    check_image,
    content_hash,
    image_key,
    open_image,
)

RED, GREEN, WHITE = (255, 0, 0), (0, 255, 0), (255, 255, 255)


@pytest.fixture
def red(tmp_path: Path) -> Path:
    path = tmp_path / "red brick é.png"
    Image.new("RGB", (4, 3), RED).save(path)
    return path


def noise() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_every_kind_of_source_gives_the_same_pixels(red: Path) -> None:
    uri = dspy.Image.from_path(str(red)).url
    sources = [str(red), red, Image.open(red), dspy.Image(uri), uri, ImageFile(red)]
    for source in sources:
        image = open_image(source)
        assert (image.mode, image.size, image.getpixel((0, 0))) == ("RGB", (4, 3), RED)


def test_opaque_rgb_equals_the_plain_conversion_clip_makes(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        assert open_image(tmp_path / "a.jpg").tobytes() == image.convert("RGB").tobytes()


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    image.save(tmp_path / "a.png")
    rgb = open_image(tmp_path / "a.png")
    assert [rgb.getpixel((x, 0)) for x in (0, 1)] == [RED, WHITE]


@pytest.mark.parametrize("transparent", [False, True])
def test_palette_images_show_their_colours(tmp_path: Path, transparent: bool) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", **({"transparency": 1} if transparent else {}))
    rgb = open_image(tmp_path / "a.png")
    assert rgb.getpixel((0, 0)) == RED
    assert rgb.getpixel((1, 0)) == (WHITE if transparent else GREEN)


def test_transparent_gray_becomes_white() -> None:
    assert open_image(Image.new("LA", (1, 1), (9, 0))).getpixel((0, 0)) == WHITE


def test_cmyk_is_converted(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=100)
    r, g, b = open_image(tmp_path / "a.jpg").getpixel((4, 4))
    assert r > 240
    assert max(g, b) < 30


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    rgb = open_image(tmp_path / f"a.{suffix}")
    assert [rgb.getpixel((x, 0)) for x in range(3)] == [(0,) * 3, (100,) * 3, WHITE]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.0, 255.0], [0, 100, 255]),
        ([-10.0, 0.0, 10.0], [0, 128, 255]),
        ([7.0e6, 7.0e6, 7.0e6], [0, 0, 0]),
    ],
)
def test_floating_point_gray_spans_black_to_white(values: list[float], expected: list[int]) -> None:
    rgb = open_image(Image.fromarray(np.array([values], dtype=np.float32)))
    assert [rgb.getpixel((x, 0))[0] for x in range(3)] == expected


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), RED)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    assert open_image(tmp_path / "a.jpg").size == (20, 40)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_make_an_image_unreadable(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.jpg", exif=b"Exif\x00\x00MM\x00*garbage")
    assert open_image(tmp_path / "a.jpg").size == (64, 64)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, GREEN)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_image(tmp_path / "a.gif").getpixel((0, 0)) == RED


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "gif", "bmp", "tif"])
@pytest.mark.parametrize("read", [open_image, check_image])
def test_truncated_files_are_named(tmp_path: Path, suffix: str, read: object) -> None:
    path = tmp_path / f"cut.{suffix}"
    noise().save(path)
    check_image(path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(UnreadableImage, match=f"cut.{suffix} cannot be read as an image"):
        read(path)  # type: ignore[operator]


@pytest.mark.parametrize("read", [open_image, check_image, image_key, content_hash])
def test_missing_files_are_named(read: object) -> None:
    with pytest.raises(UnreadableImage, match=r"there is no image file nowhere\.png; check"):
        read(Path("nowhere.png"))  # type: ignore[operator]


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"])
def test_files_that_are_no_images_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    for read in (open_image, check_image):
        with pytest.raises(UnreadableImage, match=r"a\.png"):
            read(tmp_path / "a.png")


def test_image_too_large_to_decode_safely_is_refused(
    red: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2)
    with pytest.raises(UnreadableImage, match="red brick"):
        open_image(red)


def test_data_uri_without_an_image_is_refused() -> None:
    for uri in ("data:image/png;base64,AAAA", "data:image/png;base64,A", "data:nonsense"):
        with pytest.raises(UnreadableImage, match="data:"):
            open_image(uri)


def test_other_objects_are_refused_by_type() -> None:
    with pytest.raises(TypeError, match="not int"):
        open_image(3)  # type: ignore[arg-type]


def test_image_file_reads_nothing_until_it_is_formatted(tmp_path: Path, red: Path) -> None:
    assert ImageFile(tmp_path / "nowhere.png").path == tmp_path / "nowhere.png"
    with pytest.raises(UnreadableImage):
        ImageFile(tmp_path / "nowhere.png").format()
    (part,) = ImageFile(red).format()
    header, body = part["image_url"]["url"].split(",")
    assert header == "data:image/png;base64"
    assert base64.b64decode(body) == red.read_bytes()


def test_image_file_names_the_format_found_not_the_suffix(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.png", format="JPEG")
    (part,) = ImageFile(tmp_path / "a.png").format()
    assert part["image_url"]["url"].startswith("data:image/jpeg;")


def test_image_file_in_a_format_language_models_refuse_goes_as_png(tmp_path: Path) -> None:
    noise().save(tmp_path / "a.bmp")
    (part,) = ImageFile(tmp_path / "a.bmp").format()
    header, body = part["image_url"]["url"].split(",")
    assert header == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(body))).tobytes() == noise().tobytes()


def test_image_file_copies_pickles_and_compares_by_path(red: Path) -> None:
    file = ImageFile(red)
    for twin in (ImageFile(str(red)), copy.deepcopy(file), pickle.loads(pickle.dumps(file))):
        assert twin == file
        assert hash(twin) == hash(file)
        assert twin.path == red
    assert ImageFile(red.with_name("other.png")) != file
    assert repr(file) == f"ImageFile({str(red)!r})"


def test_image_file_survives_json_as_a_dspy_image(red: Path) -> None:
    example = dspy.Example(image=ImageFile(red), label="brick").with_inputs("image")
    text = json.dumps(example.toDict())
    assert "data:image/png;base64," in json.loads(text)["image"]


def test_image_file_passes_as_an_image_input_of_a_program(red: Path) -> None:
    class Echo:
        def complete(self, request: object) -> object:
            from dspy.lm15 import Message, Response, Usage

            parts = [part for message in request.messages for part in message.parts]
            kinds = {type(part).__name__ for part in parts}
            text = f"[[ ## label ## ]]\n{'ImagePart' in kinds}\n[[ ## completed ## ]]"
            return Response(
                id=None,
                model="test/echo",
                message=Message.assistant(text),
                finish_reason="stop",
                usage=Usage(),
            )

    predict = dspy.Predict("image: dspy.Image -> label: str")
    with dspy.context(lm=dspy.LM("test/echo", engine=Echo(), cache=False)):
        assert predict(image=ImageFile(red)).label == "True"


def test_image_key_changes_with_the_file(red: Path) -> None:
    before = image_key(red)
    assert image_key(ImageFile(red)) == image_key(str(red)) == before
    Image.new("RGB", (5, 5), GREEN).save(red)
    assert image_key(red) != before


def test_image_key_tells_data_and_pil_images_apart(red: Path) -> None:
    image = dspy.Image.from_path(str(red))
    other = dspy.Image(Image.new("RGB", (4, 3), GREEN))
    assert image_key(image) == image_key(dspy.Image(image.url))
    keys = {image_key(image), image_key(other), image_key(Image.open(red)), image_key(noise())}
    assert len(keys) == 4


def test_content_hash_is_that_of_the_bytes_wherever_they_lie(tmp_path: Path, red: Path) -> None:
    moved = tmp_path / "moved.png"
    moved.write_bytes(red.read_bytes())
    same = {content_hash(s) for s in (red, moved, ImageFile(red), dspy.Image.from_path(str(red)))}
    assert len(same) == 1
    assert content_hash(noise()) == content_hash(noise().copy())
    assert content_hash(noise()) not in same


def test_a_stored_image_is_neither_turned_nor_laid_on_white(tmp_path: Path) -> None:
    turned = Image.new("RGB", (4, 2), "red")
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.png", exif=exif)
    assert open_image(tmp_path / "turned.png").size == (2, 4)
    assert open_image(StoredImage(tmp_path / "turned.png")).size == (4, 2)
    Image.new("RGBA", (1, 1), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert open_image(StoredImage(tmp_path / "clear.png")).getpixel((0, 0)) == (10, 20, 30)


def test_two_readings_of_a_file_share_no_features(tmp_path: Path) -> None:
    Image.new("RGB", (4, 2), "red").save(tmp_path / "a.png")
    own, stored = ImageFile(tmp_path / "a.png"), StoredImage(tmp_path / "a.png")
    assert image_key(own) != image_key(stored)
    assert content_hash(own) != content_hash(stored)
    assert own != stored


@pytest.fixture
def serving() -> Iterator[Callable[[Iterable[bytes]], str]]:
    """Serve pieces of a body, one after the other; gives the address."""
    servers: list[ThreadingHTTPServer] = []

    def serve(pieces: Iterable[bytes]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    for piece in pieces:
                        self.wfile.write(piece)

            def log_message(self, *_: object) -> None:
                """Stay quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/x.png?key=q7"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_image_is_fetched_from_an_address(serving: Callable[..., str]) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, "PNG")
    assert open_image(serving([buffer.getvalue()])).size == (3, 2)


@pytest.mark.slow
def test_what_is_fetched_is_bounded_in_size_and_time_and_keeps_its_secrets(
    serving: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ipo_dspy.images.image.MOST_FETCHED", 2**20)
    monkeypatch.setattr("ipo_dspy.images.image.SECONDS_TO_FETCH", 0.4)

    def drips() -> Iterator[bytes]:
        while True:
            yield b"x"
            time.sleep(0.01)

    for pieces, reason in (([bytes(2**16)] * 64, "MiB"), (drips(), "seconds"), ([b"no"], "image")):
        with pytest.raises(UnreadableImage, match=reason) as refused:
            open_image(serving(pieces))
        assert "q7" not in str(refused.value)
