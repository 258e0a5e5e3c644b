from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from torch import Tensor

from ipo_dspy.encoders.fast.layers import Block
from ipo_dspy.encoders.fast.open_clip import read_open_clip_text_tower
from ipo_dspy.encoders.fast.tower import CausalTextTower

Checkpoint = Callable[[str], Path]


@pytest.fixture
def tower(checkpoint: Checkpoint) -> CausalTextTower:
    model = open_clip.create_model("tiny-vit", pretrained=str(checkpoint("tiny-vit")))
    found = read_open_clip_text_tower(model.requires_grad_(False))
    return found


def counting(block: Block, rows: list[int]) -> Block:
    def activation(x: Tensor) -> Tensor:
        rows.append(len(x))
        return block.activation(x)

    return replace(block, activation=activation)


@pytest.mark.parametrize(("tokens_at_once", "packs"), [(7, 1), (6, 2), (3, 3)])
def test_a_pack_runs_every_token_that_matters_once(
    tokens_at_once: int, packs: int, tower: CausalTextTower
) -> None:
    rows: list[list[int]] = [[] for _ in tower.blocks]
    blocks = tuple(counting(*pair) for pair in zip(tower.blocks, rows, strict=True))
    tokens = open_clip.tokenize(["a big cat", "a big dog", "a big black hen"])
    # Start, "a" and "big" are shared; each animal and end, and "black", are not.
    replace(tower, blocks=blocks).encode(tokens, tokens_at_once)
    assert [len(counted) for counted in rows] == [packs] * len(blocks)
    assert [sum(counted) for counted in rows] == [3 * packs + 2 + 2 + 3] * (len(blocks) - 1) + [3]


@pytest.mark.parametrize("texts", [["a cat", "a cat"], ["a cat"], ["", ""], ["cat", "cat cat"]])
def test_texts_that_are_alike_keep_their_ends(texts: list[str], tower: CausalTextTower) -> None:
    tokens = open_clip.tokenize(texts)
    together = tower.encode(tokens, 100)
    for row, features in zip(tokens, together, strict=True):
        torch.testing.assert_close(tower.encode(row[None], 100)[0], features)
    assert len(together) == len(texts)


def test_half_precision_leaves_sums_and_norms_alone(tower: CausalTextTower) -> None:
    half = tower.to(torch.bfloat16)
    assert {block.narrow.weight.dtype for block in half.blocks} == {torch.bfloat16}
    assert half.blocks[0].attention_norm.weight.dtype == torch.float32
    assert half.encode(open_clip.tokenize(["a cat"]), 100).dtype == torch.float32


@pytest.mark.parametrize(("tokens_at_once", "passes"), [(1000, 1), (40, 2)])
def test_small_groups_share_passes(
    tokens_at_once: int, passes: int, tower: CausalTextTower
) -> None:
    groups = [
        open_clip.tokenize([f"{start} {name}{end}" for name in ("cat", "guinea pig", "hen")])
        for start, end in [("a", ""), ("a photo of a", "."), ("two", " asleep"), ("a", " in snow")]
    ]
    apart = [tower.encode(tokens, tokens_at_once) for tokens in groups]
    rows: list[list[int]] = [[] for _ in tower.blocks]
    blocks = tuple(counting(*pair) for pair in zip(tower.blocks, rows, strict=True))
    together = replace(tower, blocks=blocks).encode_together(groups, tokens_at_once)
    assert [len(counted) for counted in rows] == [passes] * len(blocks)
    assert sum(rows[-1]) == 12
    for expected, found in zip(apart, together, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_large_groups_run_by_themselves(tower: CausalTextTower) -> None:
    groups = [open_clip.tokenize([f"{start} {n}" for n in range(9)]) for start in ("a", "b", "c")]
    apart = [tower.encode(tokens, 16) for tokens in groups]
    together = tower.encode_together(groups, 16)
    assert all(torch.equal(*pair) for pair in zip(apart, together, strict=True))
