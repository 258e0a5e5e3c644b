from __future__ import annotations

import torch
from torch.nn.functional import scaled_dot_product_attention

from ipo_dspy.encoders.text_packing import Pack

CPU = torch.device("cpu")
TOKENS = torch.tensor([[9, 1, 2, 8, 0, 0], [9, 1, 5, 8, 0, 0], [9, 1, 3, 4, 5, 8]])
ENDS = torch.tensor([3, 3, 5])


def pack(hold_shared: bool, heads: int = 2) -> Pack:
    return Pack.of(TOKENS, ENDS, 2, hold_shared=hold_shared, heads=heads, device=CPU)


def test_shared_tokens_come_once_and_padding_never() -> None:
    found = pack(hold_shared=True)
    assert found.ids.tolist() == [9, 1, 2, 8, 5, 8, 3, 4, 5, 8]
    assert found.places.tolist() == [0, 1, 2, 3, 2, 3, 2, 3, 4, 5]
    assert found.ends.tolist() == [3, 5, 9]
    assert found.lengths == ((2, 2), (1, 4))


def test_other_packs_leave_the_shared_tokens_out() -> None:
    found = pack(hold_shared=False)
    assert found.ids.tolist() == [2, 8, 5, 8, 3, 4, 5, 8]
    assert found.places.tolist() == [2, 3, 2, 3, 2, 3, 4, 5]
    assert found.ends.tolist() == [1, 3, 7]


def test_each_token_sees_the_earlier_ones_of_its_text_alone() -> None:
    torch.manual_seed(0)
    whole = torch.randn(3, 10, 8)
    holder, other = pack(hold_shared=True), pack(hold_shared=False)
    shared = holder.of_shared(whole[1], whole[2])

    found = holder.attend(*whole, shared)

    for rows in ([0, 1, 2, 3], [0, 1, 4, 5], [0, 1, 6, 7, 8, 9]):
        queries, keys, values = whole[:, rows].view(3, 1, len(rows), 2, 4).transpose(2, 3)
        text = scaled_dot_product_attention(queries, keys, values, is_causal=True)
        torch.testing.assert_close(found[rows], text[0].transpose(0, 1).flatten(1))
    torch.testing.assert_close(other.attend(*whole[:, 2:], shared), found[2:])
    ends = holder.attend(whole[0, holder.ends], *whole[1:], shared, at_ends=True)
    torch.testing.assert_close(ends, found[holder.ends])
