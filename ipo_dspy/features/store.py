"""Image features on disk, found again by what the images are.

A shard is one file of features and the content hashes of their images, named by these hashes and
never changed. So shards of many writers merge by lying in one folder, whoever wrote them.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ipo_dspy.encoders.base import Encoder
from ipo_dspy.errors import EncoderError, IPOError, UnreadableImage
from ipo_dspy.features.backends import Backend, EmbeddingJob
from ipo_dspy.features.cache import CACHE, FEATURES, HASHES, trim, unfinished
from ipo_dspy.images.image import ImageFile, ImageSource, content_hash

logger = logging.getLogger(__name__)

FORMAT = "ipo-dspy-features-1"
IMAGES_PER_FILE = 4096
"""Most images in one shard, and so what a killed process may have to encode again."""
KEY_BYTES = 32
_NOWHERE = -1
_DTYPES = {"F32": np.float32, "U8": np.uint8}
_SETTLED_NS = 10**9
"""A file changed less than this ago may change again within one tick of its clock."""

Keys: TypeAlias = NDArray[np.uint8]
"""Content hashes: [N, 32]."""
Places: TypeAlias = NDArray[np.int64]
"""Where rows lie, the number of a shard and the row in it: [N, 2]."""


class DamagedFileError(IPOError):
    """A shard is cut off, altered or of another format."""


@runtime_checkable
class CacheableEncoder(Encoder, Protocol):
    """What an encoder must tell beside the protocol for its image features to be kept on disk."""

    @property
    def image_fingerprint(self) -> str:
        """Stable text that differs wherever image features could: weights, preprocessing, ..."""


class ShardFile:
    """One shard: rows by key, memory-mapped.

    Args:
        path: the file; empty where it could not be written.
        keys: [N, 32].
        rows: [N, D].
        checksum: what `check` must find for `rows`; None where they are known to be right.
    """

    def __init__(self, path: Path, keys: Keys, rows: Tensor, checksum: str | None = None) -> None:
        self.path = path
        self.keys = keys
        self.rows = rows
        self._checksum = checksum

    @classmethod
    def open(cls, path: Path, fingerprint: str) -> Self:
        """Map a file into memory; of the rows nothing is read yet.

        Raises:
            FileNotFoundError: there is no such file.
            DamagedFileError: it is not what `write` writes.
            EncoderError: the features are those of another encoder.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                said = file.metadata() or {}
            keys, rows = _mapped(path, "keys"), _mapped(path, "features")
        except (SafetensorError, KeyError, ValueError) as error:
            raise DamagedFileError(str(error)) from error
        if said.get("format") != FORMAT or len(keys) != len(rows) or keys.ndim != 2:
            raise DamagedFileError(f"it is no file of {FORMAT}")
        if said.get("fingerprint") != fingerprint:
            raise EncoderError(
                f"{path} holds features of another encoder, {said.get('spec')} with the "
                f"fingerprint {said.get('fingerprint')}; remove the file, or choose another cache "
                f"folder with {CACHE}"
            )
        if said.get("keys") != _checksum(keys):
            raise DamagedFileError("its content hashes were altered")
        return cls(path, keys.numpy(), rows, said.get("features"))

    @classmethod
    def write(cls, folder: Path, keys: Keys, rows: Tensor, said: Mapping[str, str]) -> Self:
        """Write a file at once or not at all, named by a hash of its keys.

        Raises:
            OSError: it cannot be written.
        """
        tensors = {"keys": torch.tensor(keys), "features": rows.contiguous()}
        sums = {name: _checksum(tensor) for name, tensor in tensors.items()}
        path = folder / f"{short_hash(keys.tobytes())}.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        part = unfinished(path)
        try:
            save_file(tensors, part, {"format": FORMAT, **said, **sums})
            part.replace(path)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        finally:
            part.unlink(missing_ok=True)
        return cls.open(path, said["fingerprint"])

    def check(self) -> None:
        """Read all rows once, and mark the file as used.

        Raises:
            DamagedFileError: they are not what was written.
        """
        if self._checksum is None:
            return
        if self._checksum != _checksum(self.rows):
            raise DamagedFileError("its features were altered")
        self._checksum = None
        with suppress(OSError):  # Another process may have removed it; the map stays.
            os.utime(self.path)


class Shards:
    """All shards of one folder, looked up as one: the cost of a look-up is linear in its keys.

    Safe to use from several threads, and together with other processes.

    Args:
        folder: need not exist.
        said: what every file says of itself: `spec` and `fingerprint`.
    """

    def __init__(self, folder: Path, said: Mapping[str, str]) -> None:
        self._folder = folder
        self._said = said
        self._lock = threading.RLock()
        self._opened: set[Path] = set()
        self._files: list[ShardFile | None] = []
        self._heads: NDArray[np.uint64] | None = None
        self._places: Places = np.empty((0, 2), np.int64)

    def rows(self) -> list[Tensor]:
        """The rows of every shard, by its number; the numbers stay."""
        with self._lock:
            return [torch.empty((0, 0)) if file is None else file.rows for file in self._files]

    def find(self, keys: Keys) -> Places:
        """Look up keys; -1 for those that are in no sound shard."""
        with self._lock:
            self._open_new_files()
            places = self._look_up(keys)
            while self._forget_damaged(np.unique(places[places[:, 0] != _NOWHERE, 0])):
                places = self._look_up(keys)
            return places

    def add(self, keys: Keys, rows: Tensor) -> tuple[int, int]:
        """Write a shard, and use it from there; where that fails, use it from memory.

        Returns:
            The number of the shard, and how many bytes were written.
        """
        try:
            file = ShardFile.write(self._folder, keys, rows, self._said)
            size = file.path.stat().st_size
        except (OSError, DamagedFileError) as error:
            # Without the hashes of files, these are read again; that is not worth a warning.
            level = logging.WARNING if self._said["spec"] else logging.DEBUG
            logger.log(level, "The features of %d images cannot be kept: %s", len(keys), error)
            file, size = ShardFile(Path(), keys, rows), 0
        with self._lock:
            self._files.append(file)
            self._opened.add(file.path)
            self._heads = None
            return len(self._files) - 1, size

    def _look_up(self, keys: Keys) -> Places:
        if self._heads is None:
            self._index()
        places = np.full((len(keys), 2), _NOWHERE)
        if self._heads is None or not len(self._heads) or not len(keys):
            return places
        at = np.searchsorted(self._heads, _heads(keys))
        found = self._places[np.minimum(at, len(self._heads) - 1)]
        order = np.argsort(found[:, 0], kind="stable")
        for group in np.split(order, np.flatnonzero(np.diff(found[order, 0])) + 1):
            file = self._files[found[group[0], 0]]
            if file is not None:
                same = (file.keys[found[group, 1]] == keys[group]).all(axis=1)
                places[group[same]] = found[group[same]]
        return places

    def _index(self) -> None:
        """Sort the first eight bytes of all keys, which tell them apart but for chance."""
        files = [(n, file) for n, file in enumerate(self._files) if file is not None]
        heads = [_heads(file.keys) for _, file in files]
        places = [
            np.column_stack([np.full(len(file.keys), n), np.arange(len(file.keys))])
            for n, file in files
        ]
        joined = np.concatenate(heads) if heads else np.empty(0, np.uint64)
        order = np.argsort(joined, kind="stable")
        self._heads = joined[order]
        self._places = np.concatenate(places)[order] if places else np.empty((0, 2), np.int64)

    def _open_new_files(self) -> None:
        for path in sorted(set(self._folder.glob("*.safetensors")) - self._opened):
            try:
                self._files.append(ShardFile.open(path, self._said["fingerprint"]))
                self._opened.add(path)
                self._heads = None
            except FileNotFoundError:
                continue  # Another process has just removed it.
            except (DamagedFileError, OSError) as error:
                _discard(path, error)

    def _forget_damaged(self, numbers: NDArray[np.int64]) -> bool:
        """Check shards that are used for the first time; tell whether one had to be forgotten."""
        forgotten = False
        for number in numbers.tolist():
            file = self._files[number]
            try:
                if file is not None:
                    file.check()
            except DamagedFileError as error:
                _discard(file.path, error)
                self._opened.discard(file.path)
                self._files[number] = None
                self._heads = None
                forgotten = True
        return forgotten


class StoredFeatures:
    """Features of images in order, memory-mapped; a slice of them is a tensor [n, D].

    Args:
        parts: where the features lie, each [P, D].
        places: the place of every image's features among them.
    """

    def __init__(self, parts: Sequence[Tensor], places: Places) -> None:
        self._parts = parts
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, images: slice) -> Tensor:
        numbers, rows = self._places[images].T
        used = np.unique(numbers)
        if len(used) == 1:
            return _rows(self._parts[used[0]], rows)
        part = self._parts[used[0]]
        result = torch.empty((len(rows), part.shape[1]), dtype=part.dtype)
        for number in used:
            here = numbers == number
            result[torch.from_numpy(here)] = _rows(self._parts[number], rows[here])
        return result


class FeatureStore:
    """The image features of one encoder.

    Any image is found again by its content, whatever others it is asked for with; a file that did
    not change is not read for that. Several threads and processes may use the store at once.

    Args:
        folder: the folder of the whole cache; see `cache_folder`.
        encoder: the encoder.
        limit: most bytes in the whole cache; files used longest ago go first.
    """

    def __init__(self, folder: Path, encoder: CacheableEncoder, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._encoder = encoder
        fingerprint = encoder.image_fingerprint
        self._shards = Shards(
            folder / FEATURES / short_hash(fingerprint.encode()),
            {"spec": encoder.spec, "fingerprint": fingerprint},
        )
        self._hashes = Shards(folder / HASHES, {"spec": "", "fingerprint": "content hashes"})

    def fetch(self, images: Sequence[ImageSource], backend: Backend) -> StoredFeatures:
        """Find the features of images; those that are not there yet are embedded and kept.

        Raises:
            UnreadableImage: an image cannot be read; the features of all others are kept.
            EncoderError: a file in the cache belongs to another encoder, or the encoder fails.
        """
        keys, errors = self._content_hashes(images)
        places = self._shards.find(keys)
        missing = places[:, 1] == _NOWHERE
        missing[list(errors)] = False
        if missing.any():
            # Each content once, in the order in which it comes.
            contents = keys[missing].view(f"V{KEY_BYTES}")[:, 0]
            _, first, same = np.unique(contents, return_index=True, return_inverse=True)
            order = np.argsort(first)
            new = np.flatnonzero(missing)[first[order]]
            found, unread = self._embed([images[n] for n in new.tolist()], keys[new], backend)
            errors |= {int(new[number]): text for number, text in unread.items()}
            places[missing] = found[np.argsort(order)[same]]
        if errors:
            raise UnreadableImage(errors[min(errors)])
        return StoredFeatures(self._shards.rows(), places)

    def _embed(
        self, images: Sequence[ImageSource], keys: Keys, backend: Backend
    ) -> tuple[Places, dict[int, str]]:
        """Embed and keep: where the features lie, and why images cannot be read."""
        places = np.full((len(images), 2), _NOWHERE)
        errors: dict[int, str] = {}
        written = 0
        for shard in backend.run(EmbeddingJob(self._encoder, images, IMAGES_PER_FILE)):
            errors |= shard.errors
            numbers = np.asarray(shard.numbers, np.int64)
            if not len(numbers):
                continue
            part, size = self._shards.add(keys[numbers], shard.features)
            places[numbers] = np.column_stack(
                [np.full(len(numbers), part), np.arange(len(numbers))]
            )
            written += size
            if written > self._limit // 16:
                trim(self._folder, self._limit)
                written = 0
        if written:
            trim(self._folder, self._limit)
        return places, errors

    def _content_hashes(self, images: Sequence[ImageSource]) -> tuple[Keys, dict[int, str]]:
        """The content hash of every image, and why images cannot be read.

        Files that did not change since they were hashed are not read.
        """
        keys = np.zeros((len(images), KEY_BYTES), np.uint8)
        unread = np.ones(len(images), bool)
        before = [_identity(image) for image in images]
        files = np.flatnonzero([identity is not None for identity in before])
        if len(files):
            asked = _joined_keys([before[index] or b"" for index in files.tolist()])
            places = self._hashes.find(asked)
            known = files[places[:, 1] != _NOWHERE]
            if len(known):
                found = StoredFeatures(self._hashes.rows(), places[places[:, 1] != _NOWHERE])
                keys[known] = found[:].numpy()
                unread[known] = False
        errors: dict[int, str] = {}

        def read(index: int) -> None:
            try:
                keys[index] = np.frombuffer(bytes.fromhex(content_hash(images[index])), np.uint8)
            except UnreadableImage as error:
                errors[index] = str(error)

        new = np.flatnonzero(unread).tolist()
        with ThreadPoolExecutor() as pool:
            list(pool.map(read, new))
        settled = [
            index
            for index in new
            if index not in errors
            and before[index] is not None
            and _identity(images[index], settled=True) == before[index]
        ]
        if settled:
            identities = _joined_keys([before[index] or b"" for index in settled])
            self._hashes.add(identities, torch.from_numpy(keys[settled]))
        return keys, errors


def short_hash(content: bytes) -> str:
    """A name for content: 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _identity(image: ImageSource, settled: bool = False) -> bytes | None:
    """What changes with a file: 32 bytes; None for what is no file, or not there.

    Args:
        image: the image.
        settled: give None for files that were changed just now.
    """
    if isinstance(image, ImageFile):
        path = image.path
    elif isinstance(image, os.PathLike):
        path = Path(image)
    else:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    if settled and time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) < _SETTLED_NS:
        return None
    facts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    text = f"{path.absolute()}\0{facts}"
    return hashlib.blake2b(os.fsencode(text), digest_size=KEY_BYTES).digest()


def _joined_keys(keys: Sequence[bytes]) -> Keys:
    return np.frombuffer(b"".join(keys), np.uint8).reshape(-1, KEY_BYTES)


def _discard(path: Path, error: Exception) -> None:
    logger.warning("%s is damaged (%s); its images are encoded again", path, error)
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _rows(part: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """These rows of a part; a view where they follow one another, so that nothing is copied."""
    first = int(rows[0])
    if np.array_equal(rows, np.arange(first, first + len(rows))):
        return part[first : first + len(rows)]
    return part[torch.from_numpy(rows)]


def _mapped(path: Path, name: str) -> Tensor:
    """Map one tensor of a sound file into memory.

    What safetensors and torch would map holds on to as much memory again, by way of the allocator.

    Raises:
        KeyError: the file has no such tensor.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(length))[name]
    start = 8 + length + entry["data_offsets"][0]
    dtype = _DTYPES[entry["dtype"]]
    return torch.from_numpy(np.memmap(path, dtype, "c", start, tuple(entry["shape"])))


def _checksum(tensor: Tensor) -> str:
    return f"{zlib.crc32(tensor.numpy().data):08x}"


def _heads(keys: Keys) -> NDArray[np.uint64]:
    heads: NDArray[np.uint64] = np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]
    return heads
