"""The fast text path: what a causal text tower must compute, and nothing else.

In a causal tower a token sees only what stands before it. So tokens after the end of a text never
matter, tokens that all texts begin with are the same for every text and run once, and the last
block is needed at the end of each text alone. Texts of different lengths cost no padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import embedding

from ipo_dspy.encoders.text_layers import Block, Linear, Norm
from ipo_dspy.encoders.text_packing import KeysValues, Pack


@dataclass(frozen=True)
class CausalTextTower:
    """The weights of a causal text tower, and how to find where a text ends.

    Args:
        token_embedding: [vocabulary, W].
        positions: [context length, W].
        blocks: from the first to the last.
        heads: attention heads of every block.
        norm: the normalisation after the last block.
        projection: from W to D.
        ends: for token ids [T, L], the position of each text's end: [T].
    """

    token_embedding: Tensor
    positions: Tensor
    blocks: tuple[Block, ...]
    heads: int
    norm: Norm
    projection: Linear | None
    ends: Callable[[Tensor], Tensor]

    def to(self, dtype: torch.dtype) -> CausalTextTower:
        """The same with linear layers of another type; normalisations and sums stay float32."""
        return replace(self, blocks=tuple(block.to(dtype) for block in self.blocks))

    def encode(self, tokens: Tensor, tokens_at_once: int) -> Tensor:
        """Encode texts: [T, D] of any length, on the device of the weights.

        The bits of a text's features depend on the texts it comes with: encode the texts of each
        template by themselves.

        Args:
            tokens: token ids [T, L] as the library's tokenizer pads them, on the CPU.
            tokens_at_once: about how many tokens run in one pass, which bounds the memory.
        """
        ends = self.ends(tokens)
        shared = _count_shared(tokens, ends)
        pooled = self.positions.new_empty(len(tokens), self.positions.shape[1])
        prefix: list[KeysValues] = []
        for texts in _split(ends, ends - shared + 1, tokens_at_once):
            pack = Pack.of(
                tokens[texts],
                ends[texts],
                shared,
                hold_shared=not prefix,
                heads=self.heads,
                device=pooled.device,
            )
            pooled[texts.to(pooled.device)] = self._run(pack, prefix)
        normed = self.norm(pooled)
        return normed if self.projection is None else self.projection(normed)

    def _run(self, pack: Pack, prefix: list[KeysValues]) -> Tensor:
        """Run packed tokens through all blocks: [T, W] at the ends of the texts.

        `prefix` is every block's keys and values of the shared tokens; the first pack fills it.
        """
        x = embedding(pack.ids, self.token_embedding) + self.positions[pack.places]
        for number, block in enumerate(self.blocks):
            normed = block.attention_norm(x)
            keys, values = block.keys(normed), block.values(normed)
            if pack.holds_shared:
                prefix.append(pack.of_shared(keys, values))
            at_ends = block is self.blocks[-1]
            if at_ends:
                x, normed = x[pack.ends], normed[pack.ends]
            queries = block.queries(normed)
            attended = pack.attend(queries, keys, values, prefix[number], at_ends=at_ends)
            x.add_(block.attention_out(attended))
            block.add_perceptron(x)
        return x


def first_of_largest(tokens: Tensor) -> Tensor:
    """Where the largest token id of each row of [T, L] first stands: CLIP's end of the text."""
    return tokens.argmax(dim=1)


def first_of(tokens: Tensor, token: int) -> Tensor:
    """Where a token id first stands in each row of [T, L]; 0 where it is missing."""
    return (tokens == token).int().argmax(dim=1)


def _count_shared(tokens: Tensor, ends: Tensor) -> int:
    """How many tokens all texts begin with; none of them the end of a text, whose output counts."""
    if len(tokens) == 1:
        return 0
    same = int((tokens == tokens[0]).all(dim=0).cumprod(0).sum())
    return min(same, int(ends.min()))


def _split(ends: Tensor, rows: Tensor, at_once: int) -> tuple[Tensor, ...]:
    """Sort texts by length and split them into parts of about equally many rows: their indices."""
    order = torch.argsort(ends, stable=True)
    total = int(rows.sum())
    parts = -(-total // at_once)
    part_of = (rows[order].cumsum(0) - 1) * parts // total
    counts = torch.unique_consecutive(part_of, return_counts=True)[1]
    return order.split(counts.tolist())
