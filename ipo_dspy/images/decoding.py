"""Bytes of any origin made into pixels: which formats, how much memory, one kind of error.

Memory is bounded: all threads together decode images for at most `BYTES_AT_ONCE` (2 GiB) at a
time; an image that needs more than that by itself waits until it is alone; one of more than
`LARGE_PIXELS` is made smaller before it is handed on; Pillow refuses what claims more than
twice `PIL.Image.MAX_IMAGE_PIXELS` (179 million pixels) before any of it is decoded; files of more
than `LARGE_FILE` (256 MiB) are read one at a time, and of more than `MOST_FILE` (2 GiB) not at all.
"""

from __future__ import annotations

import os
import stat
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from io import BufferedIOBase, BytesIO
from math import ceil, sqrt
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from PIL import Image, UnidentifiedImageError

from ipo_dspy.errors import UnreadableImage

_T = TypeVar("_T")

# Rasters that Pillow decodes in this process. EPS would start Ghostscript, IPTC opens what it
# contains as any format, WMF is drawn by Windows, and the rest of Pillow's list is no pictures.
# fmt: off
_FORMATS = (
    "AVIF", "BLP", "BMP", "CUR", "DCX", "DDS", "DIB", "FITS", "FLI", "FTEX", "GBR", "GIF", "ICNS",
    "ICO", "IM", "JPEG", "JPEG2000", "MSP", "PCD", "PCX", "PIXAR", "PNG", "PPM", "PSD", "QOI",
    "SGI", "SPIDER", "SUN", "TGA", "TIFF", "WEBP", "XBM", "XPM",
)
# fmt: on
HEIF_SUFFIXES = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
"""Files that an extra reads: `pip install ipo-dspy[heic]`."""
_SUFFIXES_OF_NO_PLUGIN = {".mpo": "JPEG"}

LARGE_PIXELS = 2**26
"""An image of more pixels, 67 million, is made smaller; it is far above what encoders see."""
BYTES_AT_ONCE = 2**31
"""Memory for images that are being decoded, in all threads together."""
LARGE_FILE = 2**28
"""Decoders may read a file whole; of files of more bytes, one is decoded at a time."""
MOST_FILE = 2**31
"""A file of more bytes is no image that is read here."""
MOST_ELONGATED = 100
"""The longer side of an image is at most so many times the shorter one.

Encoders scale the shorter side to their size, so that the memory they take grows with this.
"""
_BYTES_A_PIXEL = {"1": 8, "L": 8, "P": 16, "RGB": 8, "CMYK": 12, "YCbCr": 12}
_MOST_BYTES_A_PIXEL = 32
_BLOCK = 2**26
_BYTES_A_PIXEL_OF_FORMAT = {"AVIF": 12, "HEIF": 12, "JPEG2000": 24, "WEBP": 16}
"""Formats whose libraries hold more at a time than the picture, as measured with Pillow 13."""

_START_OF_JPEG = b"\xff\xd8\xff"
_EXIF_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@cache
def formats() -> tuple[str, ...]:
    """Name the formats that are parsed; HEIF is among them where `pillow-heif` is installed."""
    Image.init()
    # Blocks of Pillow's own 16 MiB stay with the C library, which gives only larger ones back.
    core = cast(Any, Image).core
    core.set_block_size(max(_BLOCK, core.get_block_size()))
    known = [name for name in _FORMATS if name in Image.OPEN]
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
        known.append("HEIF")
    return tuple(known)


@cache
def image_suffixes() -> frozenset[str]:
    """The endings of files that are taken for images, in lower case."""
    readable = formats()
    registered = Image.registered_extensions().items()
    heif = HEIF_SUFFIXES if "HEIF" in readable else frozenset()
    found = {suffix for suffix, name in registered if name in readable}
    return frozenset(found | _SUFFIXES_OF_NO_PLUGIN.keys() | heif)


def open_file(path: Path) -> BufferedIOBase:
    """Open a regular file for reading.

    Raises:
        UnreadableImage: it is missing, closed to us, empty, of more than `MOST_FILE` bytes, or a
            folder, pipe or device, which is not opened: a pipe may block for ever.
    """
    with one_error(str(path)):
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it is a folder, a pipe or a device")
        if not status.st_size:
            # Some files of /proc say so too, and reading them may block for ever.
            raise OSError("the file is empty")
        if status.st_size > MOST_FILE:
            raise OSError(
                f"it has {status.st_size:,} bytes, and at most {MOST_FILE:,} are read of an image"
            )
        return path.open("rb")


def decode(file: BufferedIOBase, name: str, *, as_stored: bool = False) -> Image.Image:
    """Decode an image as RGB, eight bits a channel, the way a person sees it; see `open_image`.

    Args:
        file: its bytes.
        name: for the error.
        as_stored: read it as `StoredImage` says.

    Raises:
        UnreadableImage: the bytes are no image in one of `formats`, or too large a one.
    """

    def work() -> Image.Image:
        with _in_turn(file), _opened(file) as image, _memory.taken(_bytes_for(image)):
            if image.width * image.height > LARGE_PIXELS:
                # A JPEG can be decoded at half its size.
                image.draft("RGB", (image.width // 2, image.height // 2))
            image.load()
            return _of_bounded_size(image).convert("RGB") if as_stored else _rgb(image)

    with one_error(name):
        return _past_warnings(work)


def check(file: BufferedIOBase, name: str) -> None:
    """Decode an image to its end, as quickly as its format allows.

    Raises:
        UnreadableImage: as for `decode`.
    """

    def work() -> None:
        with _in_turn(file), _opened(file) as image, _memory.taken(_bytes_for(image)):
            # A JPEG is read to its end but decoded at an eighth of its size.
            image.draft("L", (1, 1))
            image.load()

    with one_error(name):
        _past_warnings(work)


def format_of(file: BufferedIOBase, name: str) -> str:
    """Tell the format of an image by its bytes, as Pillow calls it.

    Raises:
        UnreadableImage: as for `decode`.
    """

    def work() -> str:
        with _in_turn(file), _opened(file) as image:
            return image.format or ""

    with one_error(name):
        return _past_warnings(work)


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Give an image that somebody opened as RGB; see `open_image`.

    Raises:
        UnreadableImage: it cannot be decoded or converted.
    """

    def work() -> Image.Image:
        _check_shape(image)
        with _memory.taken(_bytes_for(image)):
            return _rgb(image)

    with one_error(name):
        return _past_warnings(work)


@contextmanager
def one_error(name: str) -> Iterator[None]:
    """Tell whatever goes wrong with an image in one sentence.

    Raises:
        UnreadableImage: something went wrong.
    """
    try:
        yield
    except UnreadableImage:
        raise
    except FileNotFoundError as error:
        raise UnreadableImage(f"there is no image file {name}; check the path") from error
    except Exception as error:
        # Decoders raise whatever odd bytes lead them to.
        told = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            told = "it is damaged, or in no format that is read here"
        raise UnreadableImage(
            f"{name} cannot be read as an image ({told}); replace it, or remove it from the data"
        ) from error


class _Memory:
    """Lets threads in while there is memory for what they decode.

    Args:
        most: bytes; who needs more waits until nobody else has any.
    """

    def __init__(self, most: int) -> None:
        self._most = self._free = most
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, needed: int) -> Iterator[None]:
        """Take memory, waiting for it, and give it back at the end."""
        share = min(needed, self._most)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= share)
            self._free -= share
        try:
            yield
        finally:
            with self._changed:
                self._free += share
                self._changed.notify_all()


_memory = _Memory(BYTES_AT_ONCE)
_large_files = threading.Lock()
_filters = threading.Lock()


def _past_warnings(work: Callable[[], _T]) -> _T:
    """Do the work, also where Python makes errors of warnings, as with `python -W error`."""
    try:
        return work()
    except Warning:
        # Filters belong to the whole process, so one thread at a time changes them.
        with _filters, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return work()


@contextmanager
def _in_turn(file: BufferedIOBase) -> Iterator[None]:
    """Wait, with a large file, until no other large one is read."""
    large = file.seek(0, os.SEEK_END) > LARGE_FILE
    with _large_files if large else nullcontext():
        yield


def _opened(file: BufferedIOBase) -> Image.Image:
    file.seek(0)
    try:
        image = Image.open(cast(IO[bytes], file), formats=formats())
    except (UnidentifiedImageError, LookupError, ValueError, ArithmeticError):
        file.seek(0)
        if file.read(len(_START_OF_JPEG)) != _START_OF_JPEG:
            raise
        file.seek(0)
        image = Image.open(BytesIO(_without_metadata(file.read())), formats=("JPEG",))
    _check_shape(image)
    return image


def _without_metadata(content: bytes) -> bytes:
    """A JPEG without its metadata, which can be odd where the picture is fine."""
    kept, place = [content[:2]], 2
    while content[place : place + 1] == b"\xff" and content[place + 1 : place + 2] != b"\xda":
        end = place + 2 + int.from_bytes(content[place + 2 : place + 4], "big")
        # APP0 (JFIF) and APP14 (Adobe) tell how colours are stored.
        if not 0xE1 <= content[place + 1] <= 0xED:
            kept.append(content[place:end])
        place = end
    return b"".join([*kept, content[place:]])


def _check_shape(image: Image.Image) -> None:
    shorter, longer = sorted(image.size)
    if longer > MOST_ELONGATED * shorter:
        raise ValueError(
            f"it has {image.width:,} x {image.height:,} pixels, but one side may be at most "
            f"{MOST_ELONGATED} times the other"
        )


def _bytes_for(image: Image.Image) -> int:
    of_mode = _BYTES_A_PIXEL.get(image.mode, _MOST_BYTES_A_PIXEL)
    of_format = _BYTES_A_PIXEL_OF_FORMAT.get(image.format or "", 0)
    return image.width * image.height * max(of_mode, of_format)


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    # The smaller one has no EXIF any more.
    turn = _turn(image)
    image = _of_bounded_size(image)
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bit(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        image = Image.alpha_composite(white, layer)
    return image.convert("RGB")


def _of_bounded_size(image: Image.Image) -> Image.Image:
    times = ceil(sqrt(image.width * image.height / LARGE_PIXELS))
    if times <= 1:
        return image
    smaller = (max(1, image.width // times), max(1, image.height // times))
    return image.resize(smaller, Image.Resampling.BOX)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """How the image must be turned to be upright, where its EXIF says so in a way that is clear."""
    try:
        return _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))
    except Warning:
        raise
    except Exception:  # noqa: BLE001 - no odd metadata may stop a readable picture
        return None


def _eight_bit(image: Image.Image) -> Image.Image:
    """Gray of 16 bits, 32 bits or floating point as gray of eight bits, white staying white."""
    import numpy as np

    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = 0.0, 65535.0
    if image.mode == "F":
        high = 1.0 if values.max() <= 1.0 else 255.0
    if values.min() < low or values.max() > high:
        low, high = values.min(), values.max()
    spread = (high - low) or 1.0
    scaled = np.rint((values - low) * (255.0 / spread))
    return Image.fromarray(scaled.astype(np.uint8), mode="L")
