"""The fast text path: what a causal text tower must compute, and nothing else.

In a causal tower a token sees only what stands before it. So tokens after the end of a text never
matter, tokens that all texts begin with are the same for every text and run once a pass, and the
last block is needed at the end of each text alone. Texts of different lengths cost no padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import embedding

from ipo_dspy.encoders.fast.layers import Block, Linear, Norm
from ipo_dspy.encoders.fast.packing import JoinedPacks, Pack
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
        parts = self._split(ends, ends - shared + 1, tokens_at_once)
        packs = [self._pack(tokens[texts], ends[texts], shared) for texts in parts]
        done = self._run_all(packs)
        return torch.cat(done)[torch.cat(parts).argsort().to(self.positions.device)]

    @torch.no_grad()
    def encode_together(self, groups: Sequence[Tensor], tokens_at_once: int) -> list[Tensor]:
        """Encode the texts of several templates in as few passes as fit: [T, D] for each.

        The last bits of a text's features may depend on all groups, for a matrix library may add up
        in another order where a matrix has more rows; `encode` keeps groups apart.

        Args:
            groups: token ids [T, L] of each template's texts.
            tokens_at_once: see `encode`; a group of more tokens runs by itself.
        """
        packs, orders = [], []
        for tokens in groups:
            ends = self.ends(tokens)
            order = torch.argsort(ends, stable=True)
            orders.append(order)
            packs.append(self._pack(tokens[order], ends[order], _count_shared(tokens, ends)))
        rows = torch.tensor([len(pack.ids) for pack in packs])
        threads = self._threads(int(rows.sum()))
        if len(packs) < 2 * threads or int(rows.max()) > tokens_at_once // 2:
            return [self.encode(tokens, tokens_at_once) for tokens in groups]
        parts = threads * -(-int(rows.sum()) // (threads * tokens_at_once))
        part_of = ((rows.cumsum(0) - 1) * parts // rows.sum()).tolist()
        joined = [
            JoinedPacks([packs[n] for n in same])
            for _, same in groupby(range(len(packs)), key=part_of.__getitem__)
        ]
        features = torch.cat(self._run_all(joined)).split([len(order) for order in orders])
        return [
            each[order.argsort().to(each.device)]
            for each, order in zip(features, orders, strict=True)
        ]

    def _pack(self, tokens: Tensor, ends: Tensor, shared: int) -> Pack:
        return Pack.of(tokens, ends, shared, heads=self.heads, device=self.positions.device)

    def _run_all(self, packs: Sequence[Pack | JoinedPacks]) -> list[Tensor]:
        tasks = [partial(self._run, pack) for pack in packs]
        # A GPU runs side by side what it can.
        on_cpu = self.positions.device.type == "cpu"
        return parallel_map(tasks) if on_cpu else [task() for task in tasks]

    def _run(self, pack: Pack | JoinedPacks) -> Tensor:
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
