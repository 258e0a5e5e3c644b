from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from ipo_dspy.encoders.fast.packing import Pack

TOKENS = torch.tensor([[9, 1, 2, 8, 0, 0], [9, 1, 5, 8, 0, 0], [9, 1, 3, 4, 5, 8]])
ENDS = torch.tensor([3, 3, 5])


def pack(shared: int) -> Pack:
    return Pack.of(TOKENS, ENDS, shared, heads=2, device=torch.device("cpu"))


def test_shared_tokens_come_once_and_padding_never() -> None:
    found = pack(shared=2)
    assert found.ids.tolist() == [9, 1, 2, 8, 5, 8, 3, 4, 5, 8]
    assert found.places.tolist() == [0, 1, 2, 3, 2, 3, 2, 3, 4, 5]
    assert found.ends.tolist() == [3, 5, 9]
    assert found.lengths == ((2, 2), (1, 4))


@pytest.mark.parametrize(
    ("shared", "texts"),
    [
        (2, ([0, 1, 2, 3], [0, 1, 4, 5], [0, 1, 6, 7, 8, 9])),
        (0, ([0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11, 12, 13])),
    ],
)
def test_each_token_sees_the_earlier_ones_of_its_text_alone(
    shared: int, texts: tuple[list[int], ...]
) -> None:
    torch.manual_seed(0)
    packed = pack(shared)
    whole = torch.randn(3, len(packed.ids), 8)

    found = packed.attend(*whole)

    for rows in texts:
        queries, keys, values = whole[:, rows].view(3, 1, len(rows), 2, 4).transpose(2, 3)
        text = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        torch.testing.assert_close(found[rows], text[0].transpose(0, 1).flatten(1))
    ends = packed.attend(whole[0, packed.ends], *whole[1:], at_ends=True)
    torch.testing.assert_close(ends, found[packed.ends])
