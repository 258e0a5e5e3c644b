"""Image features kept on disk, found again by what the images are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ipo_dspy.features.cache_folder import FEATURES, trim
from ipo_dspy.features.feature_file import (
    KEY_BYTES,
    NOWHERE,
    DamagedFileError,
    FeatureFile,
    Keys,
    short_hash,
    write_features,
)
from ipo_dspy.images.image import ImageSource, content_hash

logger = logging.getLogger(__name__)

IMAGES_PER_FILE = 4096
"""Most images in one file, and so what a killed process may have to encode again."""

Encode: TypeAlias = Callable[[Sequence[ImageSource]], Tensor]
Places: TypeAlias = NDArray[np.int64]
"""Where features lie, the number of a part and the row in it: [N, 2]."""


@runtime_checkable
class CacheableEncoder(Protocol):
    """What an encoder whose features are on the CPU must tell for them to be kept on disk."""

    @property
    def spec(self) -> str:
        """Stable text that rebuilds the encoder."""

    @property
    def image_fingerprint(self) -> str:
        """Stable text that differs wherever image features could: weights, preprocessing, ..."""


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
        result = torch.empty((len(rows), self._parts[used[0]].shape[1]))
        for number in used:
            here = numbers == number
            result[torch.from_numpy(here)] = _rows(self._parts[number], rows[here])
        return result


class FeatureCache:
    """The image features of one encoder.

    Images that were encoded together are one file, which is never changed: safetensors with the
    content hashes of the images and their features. Any image is found again by its hash, whatever
    others it is asked for with. Several processes may use the cache at once; where two of them
    encode the same images, one file takes the place of the other.

    Args:
        folder: the folder of the whole cache; see `cache_folder`.
        encoder: the encoder.
        limit: most bytes in the whole cache; files used longest ago go first.
    """

    def __init__(self, folder: Path, encoder: CacheableEncoder, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._spec = encoder.spec
        self._fingerprint = encoder.image_fingerprint
        self._of_encoder = folder / FEATURES / short_hash(self._fingerprint.encode())
        self._files: list[FeatureFile] = []
        self._opened: set[Path] = set()

    def fetch(self, images: Sequence[ImageSource], encode: Encode) -> StoredFeatures:
        """Find the features of images, and encode and keep those that are not there yet.

        Args:
            images: at least one.
            encode: gives the features of images: [N, D] float32.

        Raises:
            UnreadableImage: an image is missing.
            EncoderError: a file in the cache belongs to another encoder.
        """
        places = [
            self._fetch_block(images[start : start + IMAGES_PER_FILE], encode)
            for start in range(0, len(images), IMAGES_PER_FILE)
        ]
        return StoredFeatures([file.features for file in self._files], np.concatenate(places))

    def _fetch_block(self, images: Sequence[ImageSource], encode: Encode) -> Places:
        with ThreadPoolExecutor() as pool:
            hashes = list(pool.map(content_hash, images))
        keys = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(-1, KEY_BYTES)
        self._open_new_files()
        places = self._find(keys)
        missing = np.flatnonzero(places[:, 1] == NOWHERE).tolist()
        if missing:
            new = sorted({hashes[index]: index for index in reversed(missing)}.values())
            self._keep(keys[new], encode([images[index] for index in new]))
            places = self._find(keys)
        return places

    def _find(self, keys: Keys) -> Places:
        places = np.full((len(keys), 2), NOWHERE)
        for number, file in enumerate(self._files):
            missing = np.flatnonzero(places[:, 1] == NOWHERE)
            if not len(missing):
                break
            rows = file.find(keys[missing])
            if (rows != NOWHERE).any() and self._is_sound(file):
                places[missing] = np.column_stack([np.full(len(rows), number), rows])
        return places

    def _open_new_files(self) -> None:
        for path in sorted(self._of_encoder.glob("*.safetensors")):
            if path not in self._opened:
                try:
                    self._files.append(FeatureFile.open(path, self._fingerprint))
                    self._opened.add(path)
                except FileNotFoundError:
                    continue  # Another process has just removed it.
                except DamagedFileError as error:
                    _discard(path, error)

    def _is_sound(self, file: FeatureFile) -> bool:
        try:
            file.check()
        except DamagedFileError as error:
            self._opened.remove(file.path)
            file.forget()
            _discard(file.path, error)
            return False
        return True

    def _keep(self, keys: Keys, features: Tensor) -> None:
        """Write a file and use it from there; where that fails, use the features from memory."""
        try:
            path = write_features(
                self._of_encoder, keys, features, spec=self._spec, fingerprint=self._fingerprint
            )
            trim(self._folder, self._limit)
            self._files.append(FeatureFile.open(path, self._fingerprint))
            self._opened.add(path)
        except OSError as error:
            logger.warning("The features of %d images cannot be kept: %s", len(keys), error)
            self._files.append(FeatureFile(Path(), keys, features))


def _discard(path: Path, error: DamagedFileError) -> None:
    logger.warning("%s is damaged (%s); its images are encoded again", path, error)
    path.unlink(missing_ok=True)


def _rows(part: Tensor, rows: NDArray[np.int64]) -> Tensor:
    """These rows of a part; a view where they follow one another, so that nothing is copied."""
    first = int(rows[0])
    if np.array_equal(rows, np.arange(first, first + len(rows))):
        return part[first : first + len(rows)]
    return part[torch.from_numpy(rows)]
