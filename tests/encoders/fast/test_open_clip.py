from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from ipo_dspy.encoders.fast import FastPathOffError
from ipo_dspy.encoders.fast.open_clip import read_open_clip_text_tower

CAUSAL = ("tiny-vit", "tiny-vit-quickgelu", "tiny-resnet", "tiny-convnext", "tiny-custom-text")
OTHERS = ("tiny-bidirectional", "tiny-custom-block", "tiny-coca", "tiny-siglip", "tiny-roberta")
NAMES = ["cat", "great white shark", "great grey owl", "émail", "jack-o'-lantern", "cat"]
TEMPLATES = [
    "a photo of a <CLASS>.",
    "<CLASS>",
    "<CLASS>s, drawn in chalk on a blackboard",
    'a "<CLASS>"',
    "pre<CLASS>post",
    "a long text, " + "very " * 50 + "long, ends with a <CLASS>",
]
Checkpoint = Callable[[str], Path]


def load(name: str, checkpoint: Checkpoint) -> Any:
    return open_clip.create_model(name, pretrained=str(checkpoint(name))).requires_grad_(False)


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.slow
def test_a_causal_tower_gives_the_features_of_encode_text(
    name: str, template: str, checkpoint: Checkpoint
) -> None:
    model = load(name, checkpoint)
    tower = read_open_clip_text_tower(model)
    tokens = open_clip.get_tokenizer(name)([template.replace("<CLASS>", n) for n in NAMES])
    expected = model.encode_text(tokens)
    for tokens_at_once in (1, 20, 2048):
        torch.testing.assert_close(
            tower.encode(tokens, tokens_at_once), expected, atol=2e-5, rtol=1e-5
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_a_tower_that_needs_more_is_not_read(name: str, checkpoint: Checkpoint) -> None:
    with pytest.raises(FastPathOffError):
        read_open_clip_text_tower(load(name, checkpoint))


@pytest.mark.parametrize("pooling", ["first", "last"])
def test_pooling_elsewhere_than_at_the_end_is_not_read(
    pooling: str, checkpoint: Checkpoint
) -> None:
    model = load("tiny-vit", checkpoint)
    model.text_pool_type = pooling
    with pytest.raises(FastPathOffError):
        read_open_clip_text_tower(model)


def test_a_model_without_projection_is_read(checkpoint: Checkpoint) -> None:
    model = load("tiny-vit", checkpoint)
    model.text_projection = None
    tower = read_open_clip_text_tower(model)
    tokens = open_clip.tokenize(["a cat", "a dog or two"])
    torch.testing.assert_close(
        tower.encode(tokens, 2048), model.encode_text(tokens), atol=2e-5, rtol=1e-5
    )


def test_the_matrices_stay_those_of_the_model(checkpoint: Checkpoint) -> None:
    model = load("tiny-vit-quickgelu", checkpoint)
    tower = read_open_clip_text_tower(model)
    block = model.transformer.resblocks[0]
    assert tower.blocks[0].widen.weight is block.mlp.c_fc.weight
    assert tower.blocks[0].queries.weight.data_ptr() == block.attn.in_proj_weight.data_ptr()
