"""Learned vectors, read: the tokens whose own vectors are nearest, and whether any is near."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ipo_dspy.encoders.prompted_towers import Towers

NEAREST = 3
"""How many tokens are named for each vector."""
_SAMPLE = 512
_ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Neighbours:
    """The tokens nearest to one learned vector.

    Attributes:
        words: the tokens as text, nearest first.
        distances: Euclidean, between the token's vector and the learned one.
        is_near: whether the first is as near as tokens are to the tokens nearest to them.
    """

    words: tuple[str, ...]
    distances: tuple[float, ...]
    is_near: bool


@dataclass(frozen=True)
class NearestWords:
    """What learned vectors come nearest to, one by one; printed, a table.

    Attributes:
        vectors: in the order in which they stand in the text.
        usual: the median distance from a token to the one nearest to it.
    """

    vectors: tuple[Neighbours, ...]
    usual: float

    def __str__(self) -> str:
        lines = []
        for number, found in enumerate(self.vectors, start=1):
            pairs = zip(found.words, found.distances, strict=True)
            named = ", ".join(f"{word} ({distance:.3f})" for word, distance in pairs)
            verdict = "" if found.is_near else ": no word is near"
            lines.append(f"vector {number}: {named}{verdict}")
        near = sum(found.is_near for found in self.vectors)
        return "\n".join(
            [
                *lines,
                f"{near} of {len(self.vectors)} vectors are as near to a word as words usually are "
                f"to each other ({self.usual:.3f})",
            ]
        )

    __repr__ = __str__


@torch.inference_mode()
def nearest_words(towers: Towers, vectors: Tensor) -> NearestWords:
    """Find the tokens nearest to learned vectors, [n, W] or [C, n, W].

    A token's usual distance to the nearest other one is the median over evenly spaced tokens;
    tokens with equal vectors, which encoders for tests have, count as one.
    """
    table = towers.text.embedding.float()
    distinct = torch.unique(table, dim=0)
    sample = distinct[:: max(1, len(distinct) // _SAMPLE)]
    # The nearest is the token itself.
    usual = _nearest(sample, distinct, 2)[0][:, 1].median().item()
    distances, tokens = _nearest(vectors.flatten(0, -2).to(table), table, NEAREST)
    found = [
        Neighbours(
            tuple(towers.word(token) for token in row_tokens),
            tuple(row_distances),
            row_distances[0] <= usual,
        )
        for row_distances, row_tokens in zip(distances.tolist(), tokens.tolist(), strict=True)
    ]
    return NearestWords(tuple(found), usual)


def _nearest(vectors: Tensor, table: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Distances to the nearest rows of a table and their numbers: [V, count] each."""
    found = [
        torch.cdist(part, table, compute_mode="donot_use_mm_for_euclid_dist").topk(
            min(count, len(table)), largest=False
        )
        for part in vectors.split(_ROWS_AT_ONCE)
    ]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
