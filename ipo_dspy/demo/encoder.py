"""The demo encoder: a small CLIP for the demo world, its weights part of the package."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import open_clip
import safetensors.torch
import torch
from torch import Tensor

from ipo_dspy.encoders.dual_encoder import frozen
from ipo_dspy.encoders.open_clip import OpenCLIPEncoder
from ipo_dspy.errors import ArgumentError
from ipo_dspy.upstream.open_clip_parts import PreprocessCfg, image_transform_v2

if TYPE_CHECKING:
    import PIL.Image

WEIGHTS_FOLDER = Path(__file__).parent / "weights"
WEIGHTS_FORMAT = "ipo-dspy-demo-encoder-1"

Preprocess = Callable[["PIL.Image.Image"], Tensor]
Tokenizer = Callable[..., Tensor]


def load_demo_model(folder: Path = WEIGHTS_FOLDER) -> tuple[open_clip.CLIP, Preprocess, Tokenizer]:
    """Load the demo encoder: an `open_clip.CLIP` in evaluation mode at float32.

    `preprocess` takes any PIL image to [3, 64, 64]; `tokenizer` is CLIP's own.

    Raises:
        ArgumentError: The weights file is of another format.
    """
    config = read_config(folder)
    tensors = _read_tensors(folder / "model.safetensors")
    tensors["token_embedding.weight"] = _expand_vocabulary(
        tensors.pop("token_ids"),
        tensors.pop("token_rows"),
        tensors.pop("unknown_row"),
        vocabulary=config["text_cfg"]["vocab_size"],
    )
    with torch.device("meta"):
        model = open_clip.CLIP(**config)
    model.load_state_dict(tensors, assign=True)
    model.attn_mask = _causal_mask(model.context_length)
    settings = PreprocessCfg(size=config["vision_cfg"]["image_size"])
    model.visual.preprocess_cfg = dataclasses.asdict(settings)
    preprocess: Preprocess = image_transform_v2(settings, is_train=False)
    return model.eval(), preprocess, open_clip.SimpleTokenizer()


def load_demo_encoder(spec: str, *, device: str, precision: str) -> OpenCLIPEncoder:
    """Make the encoder of the spec `demo`."""
    model, preprocess, tokenizer = load_demo_model()
    model = frozen(model, device)
    return OpenCLIPEncoder(spec, model, preprocess, tokenizer, device=device, precision=precision)


def read_config(folder: Path = WEIGHTS_FOLDER) -> dict[str, Any]:
    """Read the arguments of `open_clip.CLIP`."""
    config: dict[str, Any] = json.loads((folder / "model_config.json").read_text("utf-8"))
    return config


def _causal_mask(length: int) -> Tensor:
    """Forbid each token to look at later ones: [length, length], -inf above the diagonal."""
    return torch.full((length, length), float("-inf")).triu_(1)


def _read_tensors(path: Path) -> dict[str, Tensor]:
    with safetensors.safe_open(path, framework="pt") as file:
        found = (file.metadata() or {}).get("format")
        if found != WEIGHTS_FORMAT:
            raise ArgumentError(
                f"{path} must be of format {WEIGHTS_FORMAT!r}, but is of {found!r}."
            )
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }


def _expand_vocabulary(ids: Tensor, rows: Tensor, unknown: Tensor, vocabulary: int) -> Tensor:
    """Give each token its trained vector, and every other one the vector for unknown words."""
    table = unknown.expand(vocabulary, -1).clone()
    table[ids.long()] = rows
    return table
