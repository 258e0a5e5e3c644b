"""Small randomly initialised models of open_clip's architectures, saved as a user's files are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

VIT = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny-vit": {"vision_cfg": VIT, "text_cfg": TEXT},
    "tiny-vit-quickgelu": {"vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "tiny-resnet": {
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
        "text_cfg": TEXT,
    },
    "tiny-convnext": {
        "vision_cfg": {
            "timm_model_name": "convnext_atto",
            "timm_model_pretrained": False,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": 32,
        },
        "text_cfg": TEXT,
    },
    "tiny-custom-text": {
        "vision_cfg": VIT,
        "text_cfg": {
            **TEXT,
            "proj_bias": True,
            "ls_init_value": 0.1,
            "pool_type": "eos",
            "eos_id": 49407,
        },
        "custom_text": True,
    },
    "tiny-bidirectional": {
        "vision_cfg": VIT,
        "text_cfg": {**TEXT, "context_length": 64, "no_causal_mask": True, "pool_type": "last"},
        "custom_text": True,
        "init_logit_bias": -10.0,
    },
    "tiny-custom-block": {
        "vision_cfg": VIT,
        "text_cfg": {**TEXT, "qk_norm": True},
        "custom_text": True,
    },
    "tiny-coca": {
        "vision_cfg": {
            **VIT,
            "attentional_pool": True,
            "attn_pooler_heads": 2,
            "output_tokens": True,
        },
        "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {
            "context_length": 76,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
            "dim_head": 16,
            "n_queries": 4,
            "attn_pooler_heads": 2,
        },
        "custom_text": True,
    },
}


@pytest.fixture(scope="session", autouse=True)
def tiny_architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("model_configs")
    for name, settings in ARCHITECTURES.items():
        (folder / f"{name}.json").write_text(json.dumps({"embed_dim": 24, **settings}))
    open_clip.add_model_config(folder)


@pytest.fixture(scope="session")
def checkpoint(
    tiny_architectures: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Give the checkpoint file of a tiny architecture, written on first use."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def write(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            torch.manual_seed(len(name))
            model = open_clip.create_model(name)
            for parameter in model.parameters():
                if parameter.ndim > 0:
                    # Initial weights are so small that a wrong tower would hardly differ.
                    parameter.data.add_(0.1 * torch.randn_like(parameter))
            save_file({key: value.clone() for key, value in model.state_dict().items()}, path)
        return path

    return write


@pytest.fixture
def images() -> list[Image.Image]:
    generator = torch.Generator().manual_seed(0)
    return [
        Image.fromarray(
            torch.randint(0, 256, (40, 56, 3), generator=generator, dtype=torch.uint8).numpy()
        )
        for _ in range(5)
    ]
