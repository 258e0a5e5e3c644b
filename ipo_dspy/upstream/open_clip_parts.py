"""The parts of open_clip that it does not promise to keep: here, and in no other module.

`tests/upstream/test_open_clip_parts.py` says which of them a new version has moved or changed.
"""

from __future__ import annotations

from open_clip import CLIP, CustomTextCLIP
from open_clip.factory import HF_HUB_PREFIX, LOCAL_DIR_PREFIX
from open_clip.modified_resnet import ModifiedResNet
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from open_clip.tokenizer import (
    HFTokenizer,
    SigLipTokenizer,
    SimpleTokenizer,
    basic_clean,
    canonicalize_text,
)
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.transformer import (
    Attention,
    LayerScale,
    QuickGELU,
    ResidualAttentionBlock,
    TextTransformer,
    VisionTransformer,
)

__all__ = [
    "CLIP",
    "HF_HUB_PREFIX",
    "LOCAL_DIR_PREFIX",
    "Attention",
    "CustomTextCLIP",
    "HFTokenizer",
    "LayerScale",
    "ModifiedResNet",
    "PreprocessCfg",
    "QuickGELU",
    "ResidualAttentionBlock",
    "SigLipTokenizer",
    "SimpleTokenizer",
    "TextTransformer",
    "VisionTransformer",
    "basic_clean",
    "canonicalize_text",
    "download_pretrained",
    "get_pretrained_cfg",
    "image_transform_v2",
]
