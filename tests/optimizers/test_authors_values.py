"""Values that the authors' own modules gave on a random CLIP, and ours on the same one.

`authors_values.json` holds what the released code of CoOp (for CoOp and CoCoOp), MaPLe, PromptSRC
and CoPrompt computed in float32 on the weights that `random_clip` makes, each learned tensor moved
off its start as `moved` does it: the logits of eight images, the loss, and the norm of each
gradient. Widths are those that the code has written into it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from torch import Tensor

from ipo_dspy import CLIPClassifier, CoCoOp, CoOp, CoPrompt, MaPLe, PromptSRC, load_encoder
from ipo_dspy.optimizers.prompted_model import PromptedModel

pytestmark = pytest.mark.slow

VALUES = json.loads(Path(__file__).with_name("authors_values.json").read_text())
CLASSNAMES = ["golden retriever", "sports car", "apple pie", "Boeing 737-200", "sea or lake"]
SENTENCES = {name: [f"a picture of a {name} taken outside."] for name in CLASSNAMES}
TEMPLATES = ["a photo of a {}.", "a drawing of a {} on paper.", "{}"]
LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
LEARNERS = {
    "coop": CoOp(),
    "cocoop": CoCoOp(),
    "maple": MaPLe(n_ctx=2, depth=3),
    "promptsrc": PromptSRC(n_ctx=4, depth=3, teacher_templates=TEMPLATES),
    "coprompt": CoPrompt(n_ctx=4, depth=3, sentences=SENTENCES, weight=8.0),
}


def random_clip() -> dict[str, Tensor]:
    """Three blocks a tower, 512 wide for texts, 768 for images of 32 by 32."""
    chance = torch.Generator().manual_seed(7)

    def drawn(*shape: int, std: float = 0.05) -> Tensor:
        return torch.randn(*shape, generator=chance) * std

    state = {
        "text_projection": drawn(512, 512, std=512**-0.5),
        "positional_embedding": drawn(77, 512, std=0.01),
        "logit_scale": torch.tensor(math.log(100.0)),
        "token_embedding.weight": drawn(49408, 512, std=0.02),
        "ln_final.weight": 1 + drawn(512),
        "ln_final.bias": drawn(512),
        "visual.class_embedding": drawn(768),
        "visual.positional_embedding": drawn(5, 768),
        "visual.proj": drawn(768, 512, std=768**-0.5),
        "visual.conv1.weight": drawn(768, 3, 16, 16),
        "visual.ln_pre.weight": 1 + drawn(768),
        "visual.ln_pre.bias": drawn(768),
        "visual.ln_post.weight": 1 + drawn(768),
        "visual.ln_post.bias": drawn(768),
    }
    for tower, w in (("transformer", 512), ("visual.transformer", 768)):
        for number in range(3):
            block = f"{tower}.resblocks.{number}."
            state[block + "attn.in_proj_weight"] = drawn(3 * w, w, std=w**-0.5)
            state[block + "attn.in_proj_bias"] = drawn(3 * w)
            state[block + "attn.out_proj.weight"] = drawn(w, w, std=w**-0.5)
            state[block + "attn.out_proj.bias"] = drawn(w)
            state[block + "ln_1.weight"] = 1 + drawn(w)
            state[block + "ln_1.bias"] = drawn(w)
            state[block + "ln_2.weight"] = 1 + drawn(w)
            state[block + "ln_2.bias"] = drawn(w)
            state[block + "mlp.c_fc.weight"] = drawn(4 * w, w, std=w**-0.5)
            state[block + "mlp.c_fc.bias"] = drawn(4 * w)
            state[block + "mlp.c_proj.weight"] = drawn(w, 4 * w, std=(4 * w) ** -0.5)
            state[block + "mlp.c_proj.bias"] = drawn(w)
    return state


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> CLIPClassifier:
    folder = tmp_path_factory.mktemp("random-clip")
    layers = {"layers": 3, "width": 768, "patch_size": 16, "head_width": 64, "image_size": 32}
    text = {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 3}
    config = {"embed_dim": 512, "quick_gelu": True, "vision_cfg": layers, "text_cfg": text}
    (folder / "random-authors-quickgelu.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    torch.save(random_clip(), folder / "w.pt")
    encoder = load_encoder(f"open_clip:random-authors-quickgelu/{folder / 'w.pt'}")
    return CLIPClassifier(CLASSNAMES, encoder)


@pytest.fixture(scope="module")
def views() -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(11)
    return torch.randn(8, 3, 32, 32, generator=chance), torch.randn(8, 3, 32, 32, generator=chance)


@pytest.fixture(params=LEARNERS)
def prompted(request: pytest.FixtureRequest, program: CLIPClassifier) -> PromptedModel:
    return LEARNERS[request.param].prompted(program)


def values_of(prompted: PromptedModel) -> dict[str, Any]:
    """Move the learned tensors to where the authors' modules had them."""
    name = type(prompted).__name__.removesuffix("Model").lower()
    own_names = {theirs: own for own, theirs in prompted.official_names().items()}
    chance = torch.Generator().manual_seed(5)
    shapes = {name: tensor.shape for name, tensor in prompted.named_parameters()}
    prompted.load_official(
        {
            theirs: 0.02 * torch.randn(shapes[own_names[theirs]], generator=chance)
            for theirs in sorted(own_names)
        }
    )
    values: dict[str, Any] = VALUES[name]
    return values


def test_logits_loss_and_gradients_are_those_of_the_authors_code(
    prompted: PromptedModel, views: tuple[Tensor, Tensor]
) -> None:
    values = values_of(prompted)
    pixels, second_view = views
    with torch.no_grad():
        logits = prompted.logits(pixels)
    assert torch.allclose(logits, torch.tensor(values["logits"]), atol=2e-4)
    loss = prompted.loss(pixels, LABELS, second_view=second_view)
    assert loss.item() == pytest.approx(values["loss"], abs=1e-4)
    loss.backward()
    learned, names = dict(prompted.named_parameters()), prompted.official_names()
    norms = {names[own]: learned[own].grad.norm().item() for own in names}  # type: ignore[union-attr]
    assert norms == pytest.approx(values["gradient_norms"], rel=1e-3)
