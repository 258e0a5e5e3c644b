"""Texts of different lengths in one matrix without padding, and attention within each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


class KeysValues(NamedTuple):
    """Keys and values of some texts: [texts, heads, tokens, W / heads] each."""

    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class Pack:
    """The tokens of some texts; first those that all of them begin with, then the others by text.

    Texts of equal length stand together.

    Args:
        ids: token ids, [R].
        places: where in its text each token stands, [R].
        ends: the row of each text's end, [T].
        shared: how many tokens the texts share; 0 for none.
        lengths: (how many texts, how many rows each) for each length, in the order of the rows.
        heads: attention heads.
    """

    ids: Tensor
    places: Tensor
    ends: Tensor
    shared: int
    lengths: tuple[tuple[int, int], ...]
    heads: int

    @classmethod
    def of(
        cls, tokens: Tensor, ends: Tensor, shared: int, *, heads: int, device: torch.device
    ) -> Self:
        """Pack texts that are sorted by length.

        Args:
            tokens: token ids, [T, L], on the CPU.
            ends: the position of each text's end, [T], ascending, on the CPU.
            shared: how many tokens all texts begin with, none of them the end.
            heads: attention heads.
            device: where the pack is needed.
        """
        columns = torch.arange(tokens.shape[1])
        own = (columns >= shared) & (columns <= ends[:, None])
        rows = ends - shared + 1
        lengths, counts = torch.unique_consecutive(rows, return_counts=True)
        return cls(
            ids=torch.cat([tokens[0, :shared], tokens[own]]).to(device),
            places=torch.cat([columns[:shared], columns.expand_as(own)[own]]).to(device),
            ends=(shared + rows.cumsum(0) - 1).to(device),
            shared=shared,
            lengths=tuple(zip(counts.tolist(), lengths.tolist(), strict=True)),
            heads=heads,
        )

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, at_ends: bool = False
    ) -> Tensor:
        """Let every token look at itself and at the earlier tokens of its text: as `queries`.

        Args:
            queries: [R, W]; or [T, W], those at the ends of the texts.
            keys: [R, W].
            values: [R, W].
            at_ends: whether the queries are those at the ends.
        """
        attended = torch.empty_like(queries)
        row = self.shared
        answer = 0 if at_ends else row
        shared = self._keys_values(keys[:row], values[:row], 1)
        if answer:
            attended[:answer] = self._attend(self._by_head(queries[:answer], 1), shared)
        for texts, length in self.lengths:
            rows = slice(row, row + texts * length)
            answers = slice(answer, answer + texts) if at_ends else rows
            seen = self._keys_values(keys[rows], values[rows], texts)
            if self.shared:
                seen = _after(shared, seen)
            attended[answers] = self._attend(self._by_head(queries[answers], texts), seen)
            row, answer = rows.stop, answers.stop
        return attended

    def _keys_values(self, keys: Tensor, values: Tensor, texts: int) -> KeysValues:
        return KeysValues(self._by_head(keys, texts), self._by_head(values, texts))

    def _by_head(self, rows: Tensor, texts: int) -> Tensor:
        """From [rows, W] to [texts, heads, rows / texts, W / heads]."""
        height, width = len(rows) // texts, rows.shape[1] // self.heads
        return rows.view(texts, height, self.heads, width).transpose(1, 2)

    @staticmethod
    def _attend(queries: Tensor, seen: KeysValues) -> Tensor:
        """Attention in which the last of the queries belongs to the last of the keys: [rows, W]."""
        asking, answering = queries.shape[2], seen.keys.shape[2]
        mask = None if asking == 1 else _causal_mask(asking, answering, queries.device)
        attended = scaled_dot_product_attention(queries, *seen, attn_mask=mask)
        return attended.transpose(1, 2).flatten(2).flatten(0, 1)


class JoinedPacks:
    """Several packs in one matrix: linear layers see all of their rows, attention each by itself.

    Args:
        packs: at least one.
    """

    def __init__(self, packs: Sequence[Pack]) -> None:
        self._packs = packs
        self.ids = torch.cat([pack.ids for pack in packs])
        self.places = torch.cat([pack.places for pack in packs])
        rows = torch.tensor([0, *(len(pack.ids) for pack in packs)]).cumsum(0).tolist()
        self.ends = torch.cat([pack.ends + row for pack, row in zip(packs, rows, strict=False)])

    def attend(
        self, queries: Tensor, keys: Tensor, values: Tensor, *, at_ends: bool = False
    ) -> Tensor:
        """Let every token look at itself and at the earlier ones of its text; see `Pack.attend`."""
        rows = [len(pack.ids) for pack in self._packs]
        asked = [len(pack.ends) for pack in self._packs] if at_ends else rows
        parts = zip(queries.split(asked), keys.split(rows), values.split(rows), strict=True)
        return torch.cat(
            [
                pack.attend(*part, at_ends=at_ends)
                for pack, part in zip(self._packs, parts, strict=True)
            ]
        )


def _after(shared: KeysValues, own: KeysValues) -> KeysValues:
    """Put what the texts share before what each of them has."""
    texts = len(own.keys)
    return KeysValues(
        *(
            torch.cat([first.expand(texts, -1, -1, -1), second], dim=2)
            for first, second in zip(shared, own, strict=True)
        )
    )


@lru_cache(maxsize=1024)
def _causal_mask(asking: int, answering: int, device: torch.device) -> Tensor:
    """Which keys each query may see: [asking, answering], the last query sees them all."""
    return torch.ones(asking, answering, dtype=torch.bool, device=device).tril(answering - asking)
