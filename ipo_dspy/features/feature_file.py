"""One file of image features: written once, checked, memory-mapped."""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ipo_dspy.errors import EncoderError, IPOError
from ipo_dspy.features.cache_folder import CACHE, unfinished

FORMAT = "ipo-dspy-features-1"
KEY_BYTES = 32
NOWHERE = -1
"""The row of an image that is not in a file."""

_DTYPES = {"F32": np.float32, "U8": np.uint8}

Keys: TypeAlias = NDArray[np.uint8]
"""Content hashes of images: [N, 32]."""


class DamagedFileError(IPOError):
    """A file of features is cut off, altered or of another format."""


class FeatureFile:
    """Features of images that were encoded together.

    Args:
        path: the file.
        keys: content hashes of the images.
        features: [N, D] float32.
        checksum: what `check` must find for `features`; None where they are known to be right.
    """

    def __init__(
        self, path: Path, keys: Keys, features: Tensor, checksum: str | None = None
    ) -> None:
        self.path = path
        self.features = features
        self._keys = keys
        self._checksum = checksum

    @classmethod
    def open(cls, path: Path, fingerprint: str) -> Self:
        """Map a file into memory; of the features nothing is read yet.

        Raises:
            FileNotFoundError: there is no such file.
            DamagedFileError: it is not what `write_features` writes.
            EncoderError: the features are those of another encoder.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                said = file.metadata() or {}
            keys, features = _mapped(path, "keys"), _mapped(path, "features")
        except (SafetensorError, KeyError) as error:
            raise DamagedFileError(str(error)) from error
        if said.get("format") != FORMAT:
            raise DamagedFileError(f"it is of format {said.get('format')!r}, not {FORMAT!r}")
        if said["fingerprint"] != fingerprint:
            raise EncoderError(
                f"{path} holds image features of another encoder, {said['spec']} with the "
                f"fingerprint {said['fingerprint']!r}, not {fingerprint!r}; remove the file, or "
                f"choose another folder with {CACHE}"
            )
        if said["keys"] != _checksum(keys):
            raise DamagedFileError("its content hashes were altered")
        return cls(path, keys.numpy(), features, said["features"])

    def find(self, keys: Keys) -> NDArray[np.int64]:
        """The rows of images, `NOWHERE` for those that are not in the file: [N]."""
        if not len(self._keys):
            return np.full(len(keys), NOWHERE)
        # Sorted anew each time: kept, the order of very many files would take up the memory.
        heads = _heads(self._keys)
        order = np.argsort(heads)
        position = np.searchsorted(heads, _heads(keys), sorter=order)
        rows = order[np.minimum(position, len(order) - 1)]
        return np.where((self._keys[rows] == keys).all(axis=1), rows, NOWHERE)

    def forget(self) -> None:
        """Find no image any more."""
        self._keys = self._keys[:0]

    def check(self) -> None:
        """Read all features once, and mark the file as used.

        Raises:
            DamagedFileError: they are not what was written.
        """
        if self._checksum is None:
            return
        if self._checksum != _checksum(self.features):
            raise DamagedFileError("its features were altered")
        self._checksum = None
        with suppress(FileNotFoundError):  # Another process may have removed it; the map stays.
            os.utime(self.path)


def write_features(
    folder: Path, keys: Keys, features: Tensor, *, spec: str, fingerprint: str
) -> Path:
    """Write a file at once or not at all, named by a hash of its images.

    Args:
        folder: the encoder's folder, which is made where needed.
        keys: content hashes of the images.
        features: [N, D] float32.
        spec: the encoder's spec.
        fingerprint: what tells it from other encoders.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {"keys": torch.tensor(keys), "features": features.contiguous()}
    metadata = {
        "format": FORMAT,
        "spec": spec,
        "fingerprint": fingerprint,
        **{name: _checksum(tensor) for name, tensor in tensors.items()},
    }
    path = folder / f"{short_hash(keys.tobytes())}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    part = unfinished(path)
    try:
        save_file(tensors, part, metadata)
        part.replace(path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def short_hash(content: bytes) -> str:
    """A name for content: 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


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
    """The first eight bytes of each key; the others are looked at where these are equal."""
    heads: NDArray[np.uint64] = np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]
    return heads
