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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ipo_dspy.encoders.base import Encoder
from ipo_dspy.errors import EncoderError, IPOError, StorageError, UnreadableImage
from ipo_dspy.features.backends import (
    Backend,
    EmbeddingJob,
    HashesContents,
    LocalBackend,
    Shard,
    joined,
)
from ipo_dspy.features.cache import (
    CACHE,
    CACHE_GB,
    FEATURES,
    HASHES,
    bytes_kept,
    trim,
    unfinished,
)
from ipo_dspy.features.index import KEY_BYTES, NOWHERE, KeyIndex, Keys, Places, joined_keys
from ipo_dspy.images.image import ImageFile, ImageSource
from ipo_dspy.images.remote import RemoteImage

logger = logging.getLogger(__name__)

FORMAT = "ipo-dspy-features-1"
IMAGES_PER_FILE = 4096
"""Most images in one file."""
SECONDS_PER_FILE = 10.0
"""After so long a file is written, full or not, and after a minute in a job that takes longer: what
a killed process may have to do again."""
_DTYPES = {"F32": np.float32, "U8": np.uint8}
_SETTLED_NS = 10**9
"""A file changed less than this ago may change again within one tick of its clock."""
_LOOKED_AT_TOGETHER = 1024
"""Files whose state one thread looks at before the next ones."""


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
        self._index = KeyIndex()

    def rows(self) -> list[Tensor]:
        """The rows of every shard, by its number; the numbers stay."""
        with self._lock:
            return [torch.empty((0, 0)) if file is None else file.rows for file in self._files]

    def find(self, keys: Keys, check: bool = True) -> Places:
        """Look up keys; -1 for those that are in no sound shard.

        Args:
            keys: [N, 32].
            check: read the rows of shards that are used for the first time, to be sure of them.
        """
        with self._lock:
            self._open_new_files()
            places = self._index.find(keys, self._keys_of)
            while check and self._forget_damaged(np.unique(places[places[:, 0] != NOWHERE, 0])):
                places = self._index.find(keys, self._keys_of)
            return places

    def _keys_of(self, number: int) -> Keys:
        file = self._files[number]
        return np.empty((0, KEY_BYTES), np.uint8) if file is None else file.keys

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
            self._opened.add(file.path)
            return self._take(file), size

    def _take(self, file: ShardFile) -> int:
        self._files.append(file)
        self._index.add([(len(self._files) - 1, file.keys)])
        return len(self._files) - 1

    def _open_new_files(self) -> None:
        opened = []
        for path in sorted(set(self._folder.glob("*.safetensors")) - self._opened):
            try:
                file = ShardFile.open(path, self._said["fingerprint"])
            except FileNotFoundError:
                continue  # Another process has just removed it.
            except (DamagedFileError, OSError) as error:
                _discard(path, error)
                continue
            opened.append((len(self._files), file.keys))
            self._files.append(file)
            self._opened.add(path)
        self._index.add(opened)

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
                self._index.forget(number)
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
        keys, errors = self._content_hashes(images, backend)
        places = self._shards.find(keys)
        new, same = _first_of_each(keys, places, errors)
        if len(new):
            room = _Room(self._folder, self._limit)
            found, unread = self._embed(images, keys, new, backend, room.make)
            errors |= unread
            places[same >= 0] = found[same[same >= 0]]
        if errors:
            raise UnreadableImage(errors[min(errors)])
        return StoredFeatures(self._shards.rows(), places)

    def fill(
        self,
        images: Sequence[ImageSource],
        backend: Backend,
        on_progress: Callable[[int], object] = lambda images: None,
    ) -> Filled:
        """Embed the images that are not there yet; nothing that is kept is removed for them.

        Args:
            images: each costs itself alone where it cannot be read.
            backend: who embeds.
            on_progress: called with how many more images are done with.

        Raises:
            StorageError: features cannot be kept, or are more than may be kept.
            EncoderError: a file in the cache belongs to another encoder, or the encoder fails.
        """
        keys, errors = self._content_hashes(images, backend)
        new, same = _first_of_each(keys, self._shards.find(keys, check=False), errors)
        on_progress(len(images) - len(new))
        room = _Room(self._folder, self._limit)

        def kept(shard: Shard, size: int) -> None:
            if shard.numbers and not size:
                raise StorageError(
                    f"features cannot be kept in {self._folder}; what was kept before is there. "
                    "Make room or choose another folder, and repeat the command to go on"
                )
            room.use(size)
            on_progress(len(shard.numbers) + len(shard.errors))

        _, unread = self._embed(images, keys, new, backend, kept) if len(new) else ((), {})
        for number in np.flatnonzero(same != NOWHERE).tolist():
            first = int(new[same[number]])
            if first in unread:
                errors[number] = unread[first]
        return Filled(len(images), len(new) - len(unread), dict(sorted(errors.items())))

    def _embed(
        self,
        images: Sequence[ImageSource],
        keys: Keys,
        new: NDArray[np.int64],
        backend: Backend,
        on_shard: Callable[[Shard, int], None],
    ) -> tuple[Places, dict[int, str]]:
        """Embed and keep the images with these numbers.

        Returns:
            Where their features lie, and why images cannot be read, by their number.
        """
        places = np.full((len(new), 2), NOWHERE)
        errors: dict[int, str] = {}
        job = EmbeddingJob(self._encoder, [images[n] for n in new.tolist()], IMAGES_PER_FILE)
        for shard in _for_files(backend.run(job)):
            errors |= {int(new[number]): text for number, text in shard.errors.items()}
            numbers = np.asarray(shard.numbers, np.int64)
            size = 0
            if len(numbers):
                part, size = self._shards.add(keys[new[numbers]], shard.features)
                rows = np.arange(len(numbers))
                places[numbers] = np.column_stack([np.full_like(rows, part), rows])
            on_shard(shard, size)
        return places, errors

    def _content_hashes(
        self, images: Sequence[ImageSource], backend: Backend
    ) -> tuple[Keys, dict[int, str]]:
        """The content hash of every image, and why images cannot be read.

        Files that did not change since they were hashed are not read.
        """
        keys = np.zeros((len(images), KEY_BYTES), np.uint8)
        unread = np.ones(len(images), bool)
        before = _identities(images)
        files = np.array([identity is not None for identity in before], bool)
        known = np.flatnonzero(files)
        if len(known):
            places = self._hashes.find(joined_keys([before[n] or b"" for n in known.tolist()]))
            here = places[:, 1] != NOWHERE
            known = known[here]
            if len(known):
                keys[known] = StoredFeatures(self._hashes.rows(), places[here])[:].numpy()
                unread[known] = False
        errors: dict[int, str] = {}
        # What is in the memory of this process, and what is little, is not read elsewhere.
        many = np.flatnonzero(unread & files)
        elsewhere: HashesContents = LocalBackend()
        if isinstance(backend, HashesContents) and len(many) > IMAGES_PER_FILE:
            elsewhere = backend
        for hashing, numbers in (
            (elsewhere, many),
            (LocalBackend(), np.flatnonzero(unread & ~files)),
        ):
            asked = [images[n] for n in numbers.tolist()]
            shards = hashing.content_hashes(asked, IMAGES_PER_FILE) if asked else ()
            for shard in _for_files(shards):
                errors |= {int(numbers[number]): text for number, text in shard.errors.items()}
                read = numbers[np.asarray(shard.numbers, np.int64)]
                if len(read):
                    keys[read] = shard.features.numpy()
                    self._remember(images, before, keys, read)
        return keys, errors

    def _remember(
        self,
        images: Sequence[ImageSource],
        before: Sequence[bytes | None],
        keys: Keys,
        read: NDArray[np.int64],
    ) -> None:
        """Keep the content hashes of files that stayed the same while they were read."""
        settled = [
            n
            for n in read.tolist()
            if before[n] is not None and _identity(images[n], settled=True) == before[n]
        ]
        if settled:
            identities = joined_keys([before[n] or b"" for n in settled])
            self._hashes.add(identities, torch.from_numpy(keys[settled]))


@dataclass(frozen=True)
class Filled:
    """What came of images that were to be embedded.

    Attributes:
        images: how many there were.
        embedded: how many of them were new; the others were kept already, or come twice.
        errors: why images cannot be read, by their number.
    """

    images: int
    embedded: int
    errors: Mapping[int, str] = field(default_factory=dict)


class _Room:
    """Room for features on disk.

    Args:
        folder: of the whole cache.
        limit: most bytes in it.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._kept = bytes_kept(folder)

    def make(self, _: Shard, size: int) -> None:
        """Take note of what was written, and remove what was used longest ago where it is much."""
        self._kept += size
        if self._kept > self._limit:
            trim(self._folder, self._limit)
            # Trimming looks at every file, so not for every shard.
            self._kept = self._limit - self._limit // 16

    def use(self, size: int) -> None:
        """Take note of what was written.

        Raises:
            StorageError: it is more than may be kept.
        """
        self._kept += size
        if self._kept > self._limit:
            raise StorageError(
                f"the features in {self._folder} have {self._kept / 1e9:.1f} GB, but at most "
                f"{self._limit / 1e9:g} GB are kept; what was embedded is there. Set {CACHE_GB} to "
                "more gigabytes and repeat the command to go on"
            )


def _first_of_each(
    keys: Keys, places: Places, errors: Mapping[int, str]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Take each content that has no place once, in the order in which it comes.

    Returns:
        The numbers of the first images of these contents, and for every image the index of its
        content among them, -1 for the others.
    """
    missing = places[:, 1] == NOWHERE
    missing[list(errors)] = False
    same = np.full(len(keys), NOWHERE)
    if not missing.any():
        return np.empty(0, np.int64), same
    contents = np.ascontiguousarray(keys[missing]).view(f"V{KEY_BYTES}")[:, 0]
    _, first, which = np.unique(contents, return_index=True, return_inverse=True)
    order = np.argsort(first)
    same[missing] = np.argsort(order)[which]
    return np.flatnonzero(missing)[first[order]], same


def _for_files(shards: Iterable[Shard]) -> Iterator[Shard]:
    return joined(shards, IMAGES_PER_FILE, SECONDS_PER_FILE)


def short_hash(content: bytes) -> str:
    """A name for content: 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _identities(images: Sequence[ImageSource]) -> list[bytes | None]:
    """See `_identity`; on a network, asking for the state of one file after the other is slow."""

    def of_some(start: int) -> list[bytes | None]:
        return [_identity(image) for image in images[start : start + _LOOKED_AT_TOGETHER]]

    with ThreadPoolExecutor() as pool:
        parts = pool.map(of_some, range(0, len(images), _LOOKED_AT_TOGETHER))
        return [identity for part in parts for identity in part]


def _identity(image: ImageSource, settled: bool = False) -> bytes | None:
    """What changes with a file: 32 bytes; None for what is no file, or not there.

    Args:
        image: the image.
        settled: give None for files that were changed just now.
    """
    if isinstance(image, RemoteImage):
        return _key(image.identity) if image.version else None
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
    return _key(f"{path.absolute()}\0{facts}")


def _key(text: str) -> bytes:
    return hashlib.blake2b(os.fsencode(text), digest_size=KEY_BYTES).digest()


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
