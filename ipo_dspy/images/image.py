"""One image, whatever it comes as: opened as RGB, named for caches, sent to a language model."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import threading
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes
from urllib.request import url2pathname

import dspy
import pydantic
from PIL import Image

from ipo_dspy.errors import ArgumentError, DataError, UnreadableImage
from ipo_dspy.images.decoding import check, decode, format_of, one_error, open_file, to_rgb
from ipo_dspy.images.remote import RemoteImage

ImageSource: TypeAlias = str | os.PathLike[str] | Image.Image | dspy.Image | RemoteImage

_FILE_SCHEME = "file://"
_REMOTE_SCHEMES = ("http://", "https://")
_URL_SCHEMES = ("data:", *_REMOTE_SCHEMES)
MOST_FETCHED = 2**28
"""An image that is fetched may have 256 MiB."""
SECONDS_TO_FETCH = 60.0
"""So long may fetching one image take in all."""
_FORMATS_LANGUAGE_MODELS_TAKE = {"PNG", "JPEG", "WEBP", "GIF"}


class ImageFile(dspy.Image):
    """A `dspy.Image` that keeps the path of a file and reads it only when a language model asks.

    Making one touches no file, so a data set of a million images stays a list of short strings.
    Equality and hash are those of the absolute path.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # dspy.Image would read or refuse a path here; the field is set without asking it.
        pydantic.BaseModel.__init__(self, url=Path(path).absolute().as_uri())

    @property
    def path(self) -> Path:
        """The absolute path of the file."""
        quoted = self.url.removeprefix(_FILE_SCHEME)
        if os.name == "nt":
            return Path(url2pathname(quoted))
        # Names are bytes, and not always UTF-8, which is all that `url2pathname` gives back.
        return Path(os.fsdecode(unquote_to_bytes(quoted)))

    def format(self) -> list[dict[str, Any]]:
        """The file as the image part of a chat message, base64 encoded.

        PNG, JPEG, WebP and GIF go as they are; any other format goes as PNG.

        Raises:
            UnreadableImage: the file is missing or no image.
        """
        with open_file(self.path) as file:
            image_format = format_of(file, str(self.path))
            if image_format in _FORMATS_LANGUAGE_MODELS_TAKE:
                file.seek(0)
                return _message_part(file.read(), image_format)
        return _message_part(_png(open_image(self)), "PNG")

    def __repr__(self) -> str:
        return f"ImageFile({str(self.path)!r})"


class StoredImage(ImageFile):
    """A file that is read as CoOp's reader reads it, by a bare `convert("RGB")`.

    It is not turned as its EXIF orientation says, and shows what is stored beneath transparent
    pixels. Published figures on benchmark datasets were measured on such images.
    """


class DatasetImage(dspy.Image):
    """A `dspy.Image` that stands for one item of a dataset object and decodes it when used.

    Attributes:
        url: `dataset:TOKEN/INDEX`; the token tells datasets of one process apart.
    """

    _dataset: Any = pydantic.PrivateAttr()
    _index: int = pydantic.PrivateAttr()
    _column: str | int = pydantic.PrivateAttr()

    def __init__(self, dataset: Any, index: int, column: str | int, token: str) -> None:
        pydantic.BaseModel.__init__(self, url=f"dataset:{token}/{index}")
        self._dataset, self._index, self._column = dataset, index, column

    def __deepcopy__(self, memo: object = None) -> DatasetImage:
        return self

    def load(self) -> Image.Image:
        """The image as its dataset gives it.

        Raises:
            DataError: the dataset gives something else than a PIL image.
            UnreadableImage: the dataset cannot decode it.
        """
        with one_error(f"image {self._index} of the dataset"):
            image = self._dataset[self._index][self._column]
        if not isinstance(image, Image.Image):
            raise DataError(
                f"image {self._index} of the dataset is a {type(image).__name__}, not a PIL image; "
                "make the dataset without a transform, or cast the column to images"
            )
        return image

    def format(self) -> list[dict[str, Any]]:
        """The image as the image part of a chat message, a base64 encoded PNG."""
        return _message_part(_png(open_image(self)), "PNG")

    def __repr__(self) -> str:
        return f"DatasetImage({self.url!r})"


def open_image(source: ImageSource) -> Image.Image:
    """The image as RGB, eight bits a channel, the way a person sees it.

    Turned as its EXIF orientation says; transparent parts laid on white; 16-bit gray scaled to
    eight bits; the first frame of an animation; smaller where it has more than 67 million pixels.
    CLIP's own preprocessing is a bare `convert("RGB")`: the result is the same for opaque, upright
    8-bit images, whereas that call would show what is stored beneath transparent pixels, mostly
    black, and clip 16-bit gray. A `StoredImage` is read by that call all the same.

    Args:
        source: a path, a PIL image, a `RemoteImage` or a `dspy.Image`; text that starts with
            `data:`, `http://` or `https://` is taken as `dspy.Image` takes it, and only then is
            anything fetched.

    Raises:
        UnreadableImage: missing, truncated, or in a format Pillow cannot decode.
        ArgumentError: `source` is none of the above.
    """
    found = _resolve(source)
    if isinstance(found, Image.Image):
        return to_rgb(found, "the image given")
    with _opened(found) as file:
        return decode(file, _name(found), as_stored=isinstance(source, StoredImage))


def check_image(path: str | os.PathLike[str]) -> None:
    """Decode the whole file, as quickly as its format allows.

    Raises:
        UnreadableImage: missing, truncated, or in a format Pillow cannot decode.
    """
    with open_file(Path(path)) as file:
        check(file, os.fspath(path))


def image_key(source: ImageSource) -> str:
    """A short text that names this image within one process, mostly without reading its content.

    A file goes by absolute path, time of change and size, so an overwritten file gets a new key;
    any other `dspy.Image` by its URL; a PIL image by its pixels.

    Raises:
        UnreadableImage: the file is missing.
    """
    if isinstance(source, DatasetImage):
        key: str = source.url
        return key
    found = _resolve(source)
    if isinstance(found, Image.Image):
        return content_hash(found)
    if isinstance(found, RemoteImage):
        return _digest(found.identity.encode("utf-8", "surrogateescape"))
    if isinstance(found, str):
        return _digest(found.encode("utf-8"))
    with one_error(str(found)):
        status = found.stat()
    return f"{_reading(source)}{found.absolute()}:{status.st_mtime_ns}:{status.st_size}"


def content_hash(source: ImageSource) -> str:
    """A hash of what the image is, wherever it lies: 64 hexadecimal digits.

    The bytes of the file, whether given as a path or encoded in a `dspy.Image`, and how they are
    read where that is another way; size and RGB pixels of a PIL image.

    Raises:
        UnreadableImage: missing or not to be fetched.
    """
    found = _resolve(source)
    if isinstance(found, Image.Image):
        rgb = open_image(found)
        return _digest(f"{rgb.size}".encode() + rgb.tobytes())
    with _opened(found) as file, one_error(_name(found)):
        return hashlib.file_digest(file, lambda: _hash(_reading(source).encode())).hexdigest()


def _reading(source: ImageSource) -> str:
    """What tells apart two readings of one file."""
    return "as stored:" if isinstance(source, StoredImage) else ""


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def _message_part(content: bytes, image_format: str) -> list[dict[str, Any]]:
    encoded = base64.b64encode(content).decode("ascii")
    url = f"data:{Image.MIME[image_format]};base64,{encoded}"
    return [{"type": "image_url", "image_url": {"url": url}}]


def _hash(content: bytes = b"") -> hashlib.blake2b:
    return hashlib.blake2b(content, digest_size=32)


def _digest(content: bytes) -> str:
    return _hash(content).hexdigest()


def _resolve(source: ImageSource) -> Path | Image.Image | RemoteImage | str:
    """What the image really is: a file, a decoded image, bytes in a store, or a URL."""
    if isinstance(source, ImageFile):
        return source.path
    if isinstance(source, DatasetImage):
        return source.load()
    if isinstance(source, dspy.Image):
        url: str = source.url
        return url
    if isinstance(source, Image.Image | RemoteImage):
        return source
    if isinstance(source, str) and source.startswith(_URL_SCHEMES):
        return source
    if isinstance(source, str | os.PathLike):
        return Path(source)
    raise ArgumentError(
        "an image may be a path, a PIL image, a RemoteImage or a dspy.Image, not "
        f"{type(source).__name__}"
    )


def _name(found: Path | RemoteImage | str) -> str:
    name = str(found)
    if isinstance(found, str) and found.startswith(_REMOTE_SCHEMES):
        # User, password and query of an address are secrets.
        name = name.partition("?")[0].rpartition("@")[2]
    return name if not isinstance(found, str) or len(name) <= 80 else f"{name[:60]}..."


def _opened(found: Path | RemoteImage | str) -> BufferedIOBase:
    if isinstance(found, Path):
        return open_file(found)
    if isinstance(found, RemoteImage):
        return io.BytesIO(found.read())
    if not found.startswith(_REMOTE_SCHEMES):
        return io.BytesIO(_data_bytes(found))
    import requests

    try:
        return io.BytesIO(_fetched(found))
    except UnreadableImage:
        raise
    except (requests.RequestException, OSError, ValueError) as error:
        # Their messages repeat the address.
        answer = getattr(error, "response", None)
        status = "" if answer is None else f" {answer.status_code}"
        reason = f"{type(error).__name__}{status}"
        raise UnreadableImage(
            f"{_name(found)} cannot be fetched ({reason}); check the address"
        ) from None


def _fetched(address: str) -> bytes:
    """What an address gives, within bounded time and memory.

    Raises:
        UnreadableImage: it is more than `MOST_FETCHED`, or takes more than `SECONDS_TO_FETCH`.
        requests.RequestException: nothing comes.
    """
    future: Future[bytes] = Future()
    # A server may send byte after byte, each within any bound on one of them.
    threading.Thread(target=_fetch, args=(address, future), daemon=True).start()
    try:
        return future.result(SECONDS_TO_FETCH)
    except TimeoutError as error:
        future.cancel()
        raise UnreadableImage(
            f"{_name(address)} is not fetched: it takes longer than {SECONDS_TO_FETCH:g} seconds"
        ) from error


def _fetch(address: str, future: Future[bytes]) -> None:
    import requests

    content = bytearray()
    try:
        with requests.get(address, stream=True, timeout=SECONDS_TO_FETCH) as response:
            response.raise_for_status()
            for piece in response.iter_content(2**16):
                content += piece
                if len(content) > MOST_FETCHED:
                    raise UnreadableImage(
                        f"{_name(address)} is not fetched: it has more than "
                        f"{MOST_FETCHED // 2**20} MiB"
                    )
                if future.cancelled():
                    return
    except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
        with suppress(InvalidStateError):
            future.set_exception(error)
        return
    with suppress(InvalidStateError):
        future.set_result(bytes(content))


def _data_bytes(url: str) -> bytes:
    header, comma, body = url.partition(",")
    if not header.startswith("data:") or not comma:
        raise UnreadableImage(
            f"{url[:60]!r} is no image that can be read here; "
            "pass a local path, a data URI or an http(s) address"
        )
    if not header.endswith(";base64"):
        return unquote_to_bytes(body)
    with one_error(f"{url[:60]}..."):
        return base64.b64decode(body)
