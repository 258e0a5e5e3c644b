"""Read the text towers of open_clip that the fast text path computes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import Tensor, nn

from ipo_dspy.encoders.fast.layers import Block, Linear, Norm
from ipo_dspy.encoders.fast.off import FastPathOffError
from ipo_dspy.encoders.fast.tower import CausalTextTower, first_of, first_of_largest
from ipo_dspy.upstream.open_clip_parts import (
    CLIP,
    Attention,
    CustomTextCLIP,
    LayerScale,
    QuickGELU,
    ResidualAttentionBlock,
    TextTransformer,
)


def read_open_clip_text_tower(model: Any) -> CausalTextTower:
    """Read the text tower of a model.

    Raises:
        FastPathOffError: it is not causal, or made of other parts.
    """
    if type(model) is CLIP:
        return _read(model, model.text_pool_type, model.text_eos_id)
    if type(model) is not CustomTextCLIP:
        raise FastPathOffError(f"a {type(model).__name__} has a text tower of its own")
    if type(model.text) is not TextTransformer:
        raise FastPathOffError(f"its text tower is a {type(model.text).__name__}")
    if model.text.cls_emb is not None:
        raise FastPathOffError("its text tower has a class token, which comes after the padding")
    return _read(model.text, model.text.pool_type, model.text.eos_id)


def _read(tower: Any, pooling: str, end_token: int) -> CausalTextTower:
    known: dict[str, Callable[[Tensor], Tensor]] = {
        "argmax": first_of_largest,
        "eos": partial(first_of, token=end_token),
    }
    if tower.attn_mask is None:
        raise FastPathOffError("its text tower is not causal")
    if pooling not in known:
        raise FastPathOffError(f"its text tower pools by {pooling!r}, not at the end of a text")
    blocks = list(tower.transformer.resblocks)
    for block in blocks:
        _check_plain(block)
    return CausalTextTower(
        token_embedding=tower.token_embedding.weight,
        positions=tower.positional_embedding,
        blocks=tuple(_read_block(block) for block in blocks),
        heads=blocks[0].attn.num_heads,
        norm=_read_norm(tower.ln_final),
        projection=_read_projection(tower.text_projection),
        ends=known[pooling],
    )


def _check_plain(block: Any) -> None:
    if type(block) is not ResidualAttentionBlock:
        raise FastPathOffError(f"its text tower has a {type(block).__name__}")
    if not isinstance(block.ln_1, nn.LayerNorm) or not isinstance(block.ln_2, nn.LayerNorm):
        raise FastPathOffError("its text tower has other normalisations than LayerNorm")
    if type(block.attn) not in (nn.MultiheadAttention, Attention):
        raise FastPathOffError(f"its text tower attends by a {type(block.attn).__name__}")
    if type(block.attn) is Attention and not _is_plain(block.attn):
        raise FastPathOffError("its text tower scales or normalises within its attention")


def _is_plain(attention: Any) -> bool:
    """Whether open_clip's own attention, since version 4, does what torch's does."""
    plain = all(
        isinstance(norm, nn.Identity)
        for norm in (attention.ln_q, attention.ln_k, attention.ln_inner)
    )
    return plain and attention.logit_scale is None and attention.head_scale is None


def _read_block(block: Any) -> Block:
    attention, perceptron = block.attn, block.mlp
    width = attention.in_proj_weight.shape[1]
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
