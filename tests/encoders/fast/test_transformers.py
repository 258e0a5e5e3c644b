from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers as tf

from ipo_dspy.encoders.fast import FastPathOffError
from ipo_dspy.encoders.fast.transformers import read_transformers_text_tower

START, END, OLD_END = 90, 95, 2
Save = Callable[[str], Path]


def texts(padding: int, end: int = END) -> torch.Tensor:
    """Token ids of five texts; the first five tokens are the same in all of them."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.full((5, 20), padding)
    for row, length in enumerate((19, 7, 12, 7, 6)):
        tokens[row, :length] = torch.randint(3, 90, (length,), generator=generator)
        tokens[row, :5] = torch.tensor([START, 4, 5, 6, 7])
        tokens[row, length] = end
    return tokens


def tiny_clip(end: int, activation: str) -> tf.CLIPModel:
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    }
    text = {
        **sizes,
        "vocab_size": 100,
        "max_position_embeddings": 20,
        "eos_token_id": end,
        "hidden_act": activation,
    }
    vision = {**sizes, "image_size": 32, "patch_size": 16}
    model = tf.CLIPModel(tf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    for parameter in model.parameters():
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("end", [OLD_END, END])
@pytest.mark.parametrize("padding", [0, END])
def test_the_text_model_of_clip_gives_its_features(activation: str, end: int, padding: int) -> None:
    model = tiny_clip(end, activation)
    tower = read_transformers_text_tower(model)
    tokens = texts(padding)
    expected = model.get_text_features(tokens).pooler_output
    for tokens_at_once in (1, 16, 2048):
        torch.testing.assert_close(
            tower.encode(tokens, tokens_at_once), expected, atol=2e-5, rtol=1e-5
        )


@pytest.mark.parametrize("name", ["metaclip_2"])
def test_the_text_model_of_metaclip_gives_its_features(name: str, saved_encoder: Save) -> None:
    model = tf.AutoModel.from_pretrained(saved_encoder(name)).requires_grad_(False)
    tower = read_transformers_text_tower(model)
    tokens = texts(padding=1, end=2) % 30
    expected = model.get_text_features(tokens).pooler_output
    torch.testing.assert_close(tower.encode(tokens, 2048), expected, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["siglip", "siglip_2"])
def test_the_text_model_of_siglip_is_not_read(name: str, saved_encoder: Save) -> None:
    with pytest.raises(FastPathOffError):
        read_transformers_text_tower(tf.AutoModel.from_pretrained(saved_encoder(name)))
