"""Images without labels, wherever they lie, one after the other and none of them read yet."""

from __future__ import annotations

import logging
import os
import tarfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from ipo_dspy.errors import DataError
from ipo_dspy.images.decoding import image_suffixes
from ipo_dspy.images.image import ImageSource
from ipo_dspy.images.readers.folder import files_below
from ipo_dspy.images.readers.table import TABLE_SUFFIXES, image_column
from ipo_dspy.images.remote import RemoteImage, filesystem

logger = logging.getLogger(__name__)

_TAR = ".tar"
_FETCHED_BY_URL = ("http://", "https://", "data:")
_ASKED_AT_ONCE = 32
"""Threads that ask a store about objects."""
_VERSION = ("ETag", "etag", "md5Hash", "crc32c", "mtime", "LastModified", "updated", "created")
_TIMES = ("mtime", "LastModified", "updated", "created")
_SETTLED_SECONDS = 2.0
"""What changed less than this ago may change again within one tick of its clock."""


def image_references(data: str | os.PathLike[str]) -> Iterator[ImageSource]:
    """Name the images of a folder, a table, webdataset shards or an object store, in order.

    Labels play no part, and folders may be of any layout. Files whose ending is none of an image
    are passed over, except `.tar` files, whose images are named one by one.

    Args:
        data: a folder; a table with the column `path` (see `read_table`); a `.tar` file; any of
            these but the table as a URL that fsspec reads, such as `s3://bucket/images`; or a
            pattern such as `shards/*.tar`.

    Raises:
        DataError: there is nothing, or it cannot be read.
    """
    text = os.fspath(data)
    if "://" in text or (any(sign in text for sign in "*?[") and not os.path.exists(text)):
        yield from _in_store(text)
        return
    path = Path(text).expanduser()
    if path.suffix.lower() in TABLE_SUFFIXES:
        yield from _of_table(path)
    elif path.suffix.lower() == _TAR and path.is_file():
        yield from _in_tar(str(path.absolute()))
    elif os.path.isdir(path):
        for file in files_below(path.absolute()):
            if file.suffix.lower() == _TAR:
                yield from _in_tar(str(file))
            elif file.suffix.lower() in image_suffixes():
                yield file
    else:
        raise DataError(
            f"there is nothing to embed at {path}; expected a folder, a table ("
            f"{', '.join(TABLE_SUFFIXES)}), a .tar file or a URL such as s3://bucket/images"
        )


def _of_table(table: Path) -> Iterator[ImageSource]:
    places = image_column(table)
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        while some := list(islice(places, 8 * _ASKED_AT_ONCE)):
            yield from pool.map(_place, some)


def _place(place: Path | str) -> ImageSource:
    if isinstance(place, Path) or place.startswith(_FETCHED_BY_URL):
        return place
    try:
        files, path = filesystem(place)
        return RemoteImage(place, _version(files.info(path)))
    except (DataError, OSError):
        return RemoteImage(place)  # Reading it says what is wrong.


def _in_store(url: str) -> Iterator[ImageSource]:
    """Name what a store has at a URL: an object, all below a folder, or what fits a pattern."""
    files, path = filesystem(url)
    try:
        found = _listed(files, path)
        first = next(found, None)
    except (OSError, ValueError) as error:
        raise DataError(f"{url} cannot be listed ({error}); check the address") from error
    if first is None:
        raise DataError(f"there is nothing at {url}; check the address")
    for name, info in (first, *found) if first else ():
        suffix = PurePosixPath(name).suffix.lower()
        if suffix == _TAR:
            yield from _in_tar(files.unstrip_protocol(name))
        elif suffix in image_suffixes():
            yield RemoteImage(files.unstrip_protocol(name), _version(info))


def _listed(files: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if any(sign in path for sign in "*?["):
        yield from sorted(files.glob(path, detail=True).items())
    elif files.isfile(path):
        yield path, files.info(path)
    else:
        for _, folders, inside in files.walk(path, detail=True):
            # Folders are entered in the order in which they stand here.
            for name, info in sorted(folders.items()):
                folders[name] = folders.pop(name, info)
            for _, info in sorted(inside.items()):
                yield info["name"], info


def _in_tar(url: str) -> Iterator[ImageSource]:
    """Name the images in a tar file, reading the headers alone."""
    files, path = filesystem(url)
    try:
        version = _version(files.info(path))
        with files.open(path, "rb") as opened, tarfile.open(fileobj=opened, mode="r:") as tar:
            for member in tar:
                suffix = PurePosixPath(member.name).suffix.lower()
                if member.isreg() and suffix in image_suffixes():
                    place = (member.offset_data, member.size)
                    yield RemoteImage(url, version, member.name, *place)
    except (tarfile.TarError, OSError) as error:
        # Its images so far are good, and other files too.
        logger.warning("%s cannot be read to its end as a plain tar file (%s)", url, error)


def _version(info: Mapping[str, Any]) -> str:
    """What tells that an object is the same; nothing where it changed just now."""
    for name in _TIMES:
        value = info.get(name)
        seconds = value.timestamp() if isinstance(value, datetime) else value
        if isinstance(seconds, float) and time.time() - seconds < _SETTLED_SECONDS:
            return ""
    told = {name: info[name] for name in _VERSION if info.get(name)}
    return f"{info.get('size')} {told}" if told else ""
