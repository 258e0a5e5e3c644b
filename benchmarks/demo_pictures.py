"""Pictures of the demo world with captions, as tensors to train the demo encoder with."""

from __future__ import annotations

import functools
import multiprocessing
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from benchmarks.demo_captions import Caption, CaptionWriter
from ipo_dspy.demo.world import CLASSES, MEDIA, draw, lay_out, picture_seed

SHORT_CAPTIONS, SHORT_LENGTH, LONG_LENGTH = 4, 34, 77
UNKNOWN = -1
"""Stands for a word that the encoder is to read as unknown."""


@dataclass(frozen=True)
class Captions:
    """Captions of N pictures, K each.

    ids: [N, K, L], CLIP's token ids or UNKNOWN; class_index: [N, K], -1 where any class fits;
    media: [N, K], the media that fit as a set of bits.
    """

    ids: Tensor
    class_index: Tensor
    media: Tensor


@dataclass(frozen=True)
class Pictures:
    """N pictures: pixels [N, 3, H, W] uint8, class_index and medium_index [N]."""

    pixels: Tensor
    class_index: Tensor
    medium_index: Tensor
    short: Captions
    long: Captions


class Vocabulary:
    """CLIP's token ids that occur in the captions, renumbered in order.

    Row 0 is the padding, row 1 the unknown word. The order is kept because CLIP finds the end of a
    text by its largest id.
    """

    def __init__(self, pictures: Pictures) -> None:
        seen = torch.cat([pictures.short.ids.unique(), pictures.long.ids.unique()]).unique()
        self.ids = seen[seen > 0].long()

    def __len__(self) -> int:
        return len(self.ids) + 2

    def renumber(self, ids: Tensor) -> Tensor:
        """Map CLIP's ids, or UNKNOWN, to rows of the compact table."""
        rows = torch.searchsorted(self.ids, ids.clamp(min=1).long()) + 2
        rows = torch.where(ids == 0, 0, rows)
        return torch.where(ids == UNKNOWN, 1, rows)


def prepare(seed: int, per_pair: int, size: int, workers: int) -> Pictures:
    """Draw and describe `per_pair` pictures of every class and medium, thrice as many photos."""
    jobs = [
        (seed, class_name, medium, per_pair * (3 if medium == "photo" else 1), size)
        for medium in MEDIA
        for class_name in CLASSES
    ]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        chunks = pool.map(_prepare_pair, jobs, chunksize=4)
    columns = [torch.from_numpy(np.concatenate(column)) for column in zip(*chunks, strict=True)]
    pixels, class_index, medium_index, *captions = columns
    return Pictures(
        pixels, class_index, medium_index, Captions(*captions[:3]), Captions(*captions[3:])
    )


def _prepare_pair(job: tuple[int, str, str, int, int]) -> tuple[NDArray[Any], ...]:
    seed, class_name, medium, count, size = job
    torch.set_num_threads(1)
    writer = CaptionWriter(seed=f"{seed}/{class_name}/{medium}")
    chance = random.Random(f"{seed}/{class_name}/{medium}/unknown")
    pixels, short, long = [], [], []
    for index in range(count):
        picture = picture_seed("encoder", seed, index)
        scene = lay_out(class_name, medium, picture)
        drawn = draw(class_name, medium, picture).resize((size, size), Image.Resampling.BICUBIC)
        pixels.append(np.asarray(drawn).transpose(2, 0, 1))
        short.append([writer.short(scene, medium) for _ in range(SHORT_CAPTIONS)])
        long.append([writer.long(scene, medium)])
    return (
        np.stack(pixels),
        np.full(count, CLASSES.index(class_name)),
        np.full(count, MEDIA.index(medium)),
        *_caption_columns(short, SHORT_LENGTH, chance),
        *_caption_columns(long, LONG_LENGTH, chance),
    )


def _caption_columns(
    captions: Sequence[Sequence[Caption]], length: int, chance: random.Random
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    ids = [[_token_ids(caption, length, chance) for caption in row] for row in captions]
    classes = [
        [CLASSES.index(caption.class_name) if caption.class_name else -1 for caption in row]
        for row in captions
    ]
    media = [
        [sum(1 << MEDIA.index(medium) for medium in caption.media) for caption in row]
        for row in captions
    ]
    return np.array(ids, dtype=np.int32), np.array(classes), np.array(media)


def _token_ids(caption: Caption, length: int, chance: random.Random) -> list[int]:
    """Tokenise to exactly `length` ids, some words made unknown and some unknown words put in."""
    tokenizer = _tokenizer()
    words = tokenizer.encode(caption.text)
    keep = set(tokenizer.encode(caption.class_name or ""))
    if chance.random() < 0.3:
        words = [UNKNOWN if w not in keep and chance.random() < 0.15 else w for w in words]
    for share in (0.25, 0.15):
        if chance.random() < share:
            at = chance.randint(0, len(words))
            words[at:at] = [UNKNOWN] * chance.randint(1, 5)
    words = [tokenizer.sot_token_id, *words[: length - 2], tokenizer.eot_token_id]
    return words + [0] * (length - len(words))


@functools.cache
def _tokenizer() -> open_clip.SimpleTokenizer:
    return open_clip.SimpleTokenizer()
