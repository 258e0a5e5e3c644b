"""Where image features are kept between runs, how much of them, and how to be rid of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ipo_dspy.errors import ArgumentError

CACHE = "IPO_DSPY_CACHE"
"""Names the environment variable with the cache's folder; `off` keeps no features."""
CACHE_GB = "IPO_DSPY_CACHE_GB"
"""Names the environment variable with the most gigabytes that are kept."""
DEFAULT_GB = 5.0
FEATURES = "features"
"""The folder within the cache that holds one folder for each encoder."""
HASHES = "hashes"
"""The folder within the cache that tells what files hold without reading them."""

CacheChoice: TypeAlias = str | os.PathLike[str] | None
"""A folder, `off`, or None for what the environment says."""

_OFF = "off"
_UNFINISHED = ".part"


@dataclass(frozen=True)
class EncoderFeatures:
    """What is kept for one encoder; `spec` is empty where its files cannot be read."""

    spec: str
    images: int
    files: int
    bytes: int


@dataclass(frozen=True)
class CacheInfo:
    """What is kept; `folder` is None where caching is off, `limit` the most bytes there may be.

    `hash_bytes` is the size of what tells the content of files without reading them.
    """

    folder: Path | None
    limit: int
    encoders: tuple[EncoderFeatures, ...] = ()
    hash_bytes: int = 0

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return self.hash_bytes + sum(encoder.bytes for encoder in self.encoders)

    @property
    def images(self) -> int:
        """The number of features; an image counts once for each encoder."""
        return sum(encoder.images for encoder in self.encoders)


def cache_folder(choice: CacheChoice = None) -> Path | None:
    """The folder of the cache, which may not exist yet; None where caching is off."""
    chosen = os.fspath(choice) if choice is not None else os.environ.get(CACHE, "")
    if chosen.lower() == _OFF:
        return None
    if chosen:
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ipo_dspy"


def cache_limit() -> int:
    """The most bytes that are kept.

    Raises:
        ArgumentError: the environment says something else than a number.
    """
    text = os.environ.get(CACHE_GB) or str(DEFAULT_GB)
    try:
        gigabytes = float(text)
    except ValueError as error:
        raise ArgumentError(f"{CACHE_GB} must be a number of gigabytes, not {text!r}") from error
    return int(gigabytes * 1e9)


def info(choice: CacheChoice = None) -> CacheInfo:
    """Look what is kept."""
    folder = cache_folder(choice)
    if folder is None:
        return CacheInfo(None, cache_limit())
    by_encoder: dict[Path, list[Path]] = {}
    hashes = [file for file in _files(folder) if file.parent == folder / HASHES]
    for file in _files(folder):
        if file.parent != folder / HASHES:
            by_encoder.setdefault(file.parent, []).append(file)
    encoders = tuple(_encoder_features(files) for files in by_encoder.values())
    return CacheInfo(folder, cache_limit(), encoders, sum(_status(file)[1] for file in hashes))


def clear(choice: CacheChoice = None) -> CacheInfo:
    """Remove everything that is kept, and say what it was.

    Programs that are using it go on with it until they end.
    """
    found = info(choice)
    if found.folder is not None:
        for file in _files(found.folder):
            _remove(file)
    return found


def bytes_kept(folder: Path) -> int:
    """The size of all files."""
    return sum(_status(file)[1] for file in _files(folder))


def trim(folder: Path, limit: int) -> None:
    """Remove files, those first that were used longest ago, until `limit` bytes are kept."""
    files = sorted((_status(file), file) for file in _files(folder))
    total = sum(size for (_, size), _ in files)
    for (_, size), file in files:
        if total <= limit:
            return
        _remove(file)
        total -= size


def unfinished(file: Path) -> Path:
    """A name beside `file` that no other process uses, for what is still being written."""
    return file.with_name(f".{file.stem}.{os.getpid()}.{os.urandom(4).hex()}{_UNFINISHED}")


def _files(folder: Path) -> Iterator[Path]:
    for pattern in ("*.safetensors", f".*{_UNFINISHED}"):
        yield from sorted((folder / FEATURES).glob(f"*/{pattern}"))
        yield from sorted((folder / HASHES).glob(pattern))


def _remove(file: Path) -> None:
    # Windows does not let go of a file that some program is using.
    with suppress(PermissionError):
        file.unlink(missing_ok=True)


def _status(file: Path) -> tuple[int, int]:
    """When the file was used last, and its size; nothing where another process removed it."""
    try:
        status = file.stat()
    except FileNotFoundError:
        return 0, 0
    return status.st_mtime_ns, status.st_size


def _encoder_features(files: list[Path]) -> EncoderFeatures:
    described = [_described(file) for file in files]
    return EncoderFeatures(
        spec=max(spec for spec, _ in described),
        images=sum(images for _, images in described),
        files=len(files),
        bytes=sum(_status(file)[1] for file in files),
    )


def _described(file: Path) -> tuple[str, int]:
    """The spec of the encoder, and the number of images."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as opened:
            return (opened.metadata() or {})["spec"], opened.get_slice("keys").get_shape()[0]
    except (OSError, SafetensorError, KeyError):
        return "", 0
