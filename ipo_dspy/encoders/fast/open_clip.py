"""Read the text towers of open_clip that the fast text path computes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from open_clip import CLIP, CustomTextCLIP
from open_clip.transformer import LayerScale, QuickGELU, ResidualAttentionBlock, TextTransformer
from torch import Tensor, nn

from ipo_dspy.encoders.fast.layers import Block, Linear, Norm
from ipo_dspy.encoders.fast.tower import CausalTextTower, first_of, first_of_largest


def read_open_clip_text_tower(model: Any) -> CausalTextTower | None:
    """Read the text tower of a model; None where it is not causal or made of other parts."""
    if type(model) is CLIP:
        return _read(model, model.text_pool_type, model.text_eos_id)
    # A class token, which CoCa has, comes after the padding.
    if (
        type(model) is CustomTextCLIP
        and type(model.text) is TextTransformer
        and model.text.cls_emb is None
    ):
        return _read(model.text, model.text.pool_type, model.text.eos_id)
    return None


def _read(tower: Any, pooling: str, end_token: int) -> CausalTextTower | None:
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "argmax": first_of_largest,
        "eos": partial(first_of, token=end_token),
    }
    ends = known.get(pooling)
    blocks = list(tower.transformer.resblocks)
    if tower.attn_mask is None or ends is None or not all(_is_plain(block) for block in blocks):
        return None
    return CausalTextTower(
        token_embedding=tower.token_embedding.weight,
        positions=tower.positional_embedding,
        blocks=tuple(_read_block(block) for block in blocks),
        heads=blocks[0].attn.num_heads,
        norm=_read_norm(tower.ln_final),
        projection=_read_projection(tower.text_projection),
        ends=ends,
    )


def _is_plain(block: Any) -> bool:
    return (
        type(block) is ResidualAttentionBlock
        and type(block.attn) is nn.MultiheadAttention
        and isinstance(block.ln_1, nn.LayerNorm)
        and isinstance(block.ln_2, nn.LayerNorm)
    )


def _read_block(block: Any) -> Block:
    attention, perceptron = block.attn, block.mlp
    width = attention.embed_dim
    parts = zip(
        attention.in_proj_weight.split(width), attention.in_proj_bias.split(width), strict=True
    )
    queries, keys, values = (Linear(weight, bias) for weight, bias in parts)
    read = Block(
        attention_norm=_read_norm(block.ln_1),
        queries=queries,
        keys=keys,
        values=values,
        attention_out=_read_linear(attention.out_proj, block.ls_1),
        perceptron_norm=_read_norm(block.ln_2),
        widen=_read_linear(perceptron.c_fc),
        activation=perceptron.gelu,
        narrow=_read_linear(perceptron.c_proj, block.ls_2),
    )
    return read.with_quick_gelu() if type(perceptron.gelu) is QuickGELU else read


def _read_norm(norm: nn.LayerNorm) -> Norm:
    return Norm(norm.weight, norm.bias, norm.eps)


def _read_linear(layer: nn.Linear, scale: nn.Module | None = None) -> Linear:
    """Read a layer, together with the scale that comes after it."""
    linear = Linear(layer.weight, layer.bias)
    return linear.times(scale.gamma) if isinstance(scale, LayerScale) else linear


def _read_projection(projection: nn.Linear | Tensor | None) -> Linear | None:
    if isinstance(projection, Tensor):
        return Linear(projection.T, None)
    return None if projection is None else _read_linear(projection)
