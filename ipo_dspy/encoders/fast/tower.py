"""The fast text path: what a causal text tower must compute, and nothing else.

In a causal tower a token sees only what stands before it. So tokens after the end of a text never
matter, tokens that all texts begin with are the same for every text and run once a pass, and the
last block is needed at the end of each text alone. Texts of different lengths cost no padding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import embedding

from ipo_dspy.encoders.fast.layers import Block, Linear, Norm
from ipo_dspy.encoders.fast.packing import Pack
from ipo_dspy.encoders.parallel import WORTH_A_THREAD, parallel_map


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

    @torch.no_grad()
    def encode(self, tokens: Tensor, tokens_at_once: int) -> Tensor:
        """Encode texts: [T, D] of any length, on the device of the weights.

        The bits of a text's features depend on the texts it comes with, and on how many threads
        torch has: encode the texts of each template by themselves.

        Args:
            tokens: token ids [T, L] as the library's tokenizer pads them, on the CPU.
            tokens_at_once: about how many tokens run in one pass, which bounds the memory; a CPU
                makes a pass on each of its threads.
        """
        ends = self.ends(tokens)
        shared = _count_shared(tokens, ends)
        device = self.positions.device
        parts = self._split(ends, ends - shared + 1, tokens_at_once)
        packs = [
            Pack.of(tokens[texts], ends[texts], shared, heads=self.heads, device=device)
            for texts in parts
        ]
        tasks = [partial(self._run, pack) for pack in packs]
        # A GPU runs side by side what it can.
        done = parallel_map(tasks) if device.type == "cpu" else [task() for task in tasks]
        return torch.cat(done)[torch.cat(parts).argsort().to(device)]

    def _run(self, pack: Pack) -> Tensor:
        """Run packed tokens through all blocks, and the ends of the texts to the end: [T, D]."""
        x = embedding(pack.ids, self.token_embedding) + self.positions[pack.places]
        for block in self.blocks:
            normed = block.attention_norm(x)
            keys, values = block.keys(normed), block.values(normed)
            at_ends = block is self.blocks[-1]
            if at_ends:
                x, normed = x[pack.ends], normed[pack.ends]
            attended = pack.attend(block.queries(normed), keys, values, at_ends=at_ends)
            x.add_(block.attention_out(attended))
            block.add_perceptron(x)
        normed = self.norm(x)
        return normed if self.projection is None else self.projection(normed)

    def _split(self, ends: Tensor, rows: Tensor, at_once: int) -> tuple[Tensor, ...]:
        """Sort texts by length and split them into parts of about equally many rows."""
        order = torch.argsort(ends, stable=True)
        total = int(rows.sum())
        threads = self._threads(total)
        parts = threads * -(-total // (threads * at_once))
        part_of = (rows[order].cumsum(0) - 1) * parts // total
        counts = torch.unique_consecutive(part_of, return_counts=True)[1]
        return order.split(counts.tolist())

    def _threads(self, rows: int) -> int:
        """How many threads are worth their while."""
        if self.positions.device.type != "cpu":
            return 1
        work = rows * sum(block.size for block in self.blocks)
        return max(1, min(torch.get_num_threads(), work // WORTH_A_THREAD))


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
