"""Read the text towers of transformers that the fast text path computes."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from transformers.activations import QuickGELUActivation

from ipo_dspy.encoders.fast.layers import Block, Linear, Norm
from ipo_dspy.encoders.fast.off import FastPathOffError
from ipo_dspy.encoders.fast.tower import CausalTextTower, first_of, first_of_largest

CAUSAL_FAMILIES = ("clip", "metaclip_2")
"""The values of `model_type` whose text tower is CLIP's."""

_OLD_END_TOKEN = 2


def read_transformers_text_tower(model: Any) -> CausalTextTower:
    """Read the text tower of a dual encoder.

    Raises:
        FastPathOffError: it is not that of CLIP.
    """
    family = model.config.model_type
    if family not in CAUSAL_FAMILIES:
        raise FastPathOffError(f"the text tower of a {family} model is not causal")
    tower = model.text_model
    # CLIP's first configurations gave a wrong end token; the library then takes the largest one.
    largest = family == "clip" and tower.eos_token_id == _OLD_END_TOKEN
    return CausalTextTower(
        token_embedding=tower.embeddings.token_embedding.weight,
        positions=tower.embeddings.position_embedding.weight,
        blocks=tuple(_read_block(layer) for layer in tower.encoder.layers),
        heads=tower.config.num_attention_heads,
        norm=_read_norm(tower.final_layer_norm),
        projection=_read_linear(model.text_projection),
        ends=first_of_largest if largest else partial(first_of, token=tower.eos_token_id),
    )


def _read_block(layer: Any) -> Block:
    attention, perceptron = layer.self_attn, layer.mlp
    read = Block(
        attention_norm=_read_norm(layer.layer_norm1),
        queries=_read_linear(attention.q_proj),
        keys=_read_linear(attention.k_proj),
        values=_read_linear(attention.v_proj),
        attention_out=_read_linear(attention.out_proj),
        perceptron_norm=_read_norm(layer.layer_norm2),
        widen=_read_linear(perceptron.fc1),
        activation=perceptron.activation_fn,
        narrow=_read_linear(perceptron.fc2),
    )
    quick = type(perceptron.activation_fn) is QuickGELUActivation
    return read.with_quick_gelu() if quick else read


def _read_norm(norm: nn.LayerNorm) -> Norm:
    return Norm(norm.weight, norm.bias, norm.eps)


def _read_linear(layer: nn.Linear) -> Linear:
    return Linear(layer.weight, layer.bias)
