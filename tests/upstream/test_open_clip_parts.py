"""What of open_clip is relied on without its promise; says what a new version moved or changed."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import open_clip
import pytest
import torch
from torch import nn

from ipo_dspy.encoders.fast import read_text_tower
from ipo_dspy.upstream import open_clip_parts as parts

PACKAGE = Path(inspect.getfile(parts)).parents[1]


def test_no_other_module_reaches_into_open_clip() -> None:
    reaching = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(r"^\s*from open_clip\.", path.read_text("utf-8"), re.MULTILINE)
    ]
    assert reaching == ["upstream/open_clip_parts.py"]


def test_the_parts_are_what_they_are_taken_for() -> None:
    assert parts.get_pretrained_cfg("ViT-B-16-quickgelu", "openai")["quick_gelu"]
    assert {"url", "hf_hub"} & parts.get_pretrained_cfg("ViT-B-32", "laion2b_s34b_b79k").keys()
    assert parts.LOCAL_DIR_PREFIX == "local-dir:"
    assert parts.HF_HUB_PREFIX == "hf-hub:"
    assert parts.canonicalize_text(parts.basic_clean(" A  cat. ")) == "a cat"
    assert isinstance(open_clip.get_tokenizer("ViT-S-32"), parts.SimpleTokenizer)
    for word in ("tokenizer_mode", "clean_fn"):
        assert word in inspect.getsource(parts.HFTokenizer)


@pytest.mark.parametrize("custom_text", [False, True])
def test_the_text_tower_is_made_of_the_parts_that_the_fast_path_computes(custom_text: bool) -> None:
    sizes = {"context_length": 77, "vocab_size": 99, "width": 32, "heads": 2, "layers": 2}
    vision = {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16}
    kind = parts.CustomTextCLIP if custom_text else parts.CLIP
    model = kind(embed_dim=16, vision_cfg=vision, text_cfg=sizes).eval()
    text = model.text if custom_text else model
    assert isinstance(text.attn_mask, torch.Tensor)
    assert (text.pool_type if custom_text else text.text_pool_type) == "argmax"
    for block in text.transformer.resblocks:
        assert type(block) is parts.ResidualAttentionBlock
        assert type(block.attn) in (nn.MultiheadAttention, parts.Attention)
        assert block.attn.in_proj_weight.shape == (96, 32)
        assert {"c_fc", "gelu", "c_proj"} == dict(block.mlp.named_children()).keys()
    tokens = torch.randint(1, 98, (3, 77))
    tokens[:, 5] = 98
    with torch.no_grad():
        expected = model.encode_text(tokens)
        torch.testing.assert_close(
            read_text_tower(model).encode(tokens, 2048), expected, atol=2e-5, rtol=1e-5
        )
