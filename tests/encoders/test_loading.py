from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ipo_dspy.encoders import Encoder, load_encoder


@pytest.mark.slow
def test_the_same_spec_gives_the_same_encoder(checkpoint: Callable[[str], Path]) -> None:
    spec = f"open_clip:tiny-vit/{checkpoint('tiny-vit')}"
    encoder = load_encoder(spec)
    assert load_encoder(spec) is encoder
    assert load_encoder(spec, device="cpu", precision="float32") is encoder
    assert load_encoder(spec, precision="bfloat16") is not encoder


def test_each_scheme_gives_an_encoder(
    checkpoint: Callable[[str], Path], saved_encoder: Callable[[str], Path]
) -> None:
    for spec in (
        "demo",
        f"open_clip:tiny-vit/{checkpoint('tiny-vit')}",
        f"hf:{saved_encoder('siglip')}",
    ):
        encoder = load_encoder(spec)
        assert encoder.spec == spec
        assert isinstance(encoder, Encoder)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "openclip:ViT-B-16/openai",
        "Demo",
        "clip",
        "HF:openai/clip-vit-base-patch32",
        "hf",
        "demo:",
    ],
)
def test_an_unknown_scheme_is_told_what_to_write(spec: str) -> None:
    with pytest.raises(ValueError, match=r"names no encoder;.*open_clip:MODEL/PRETRAINED"):
        load_encoder(spec)


@pytest.mark.parametrize(
    ("spec", "near"),
    [
        ("openclip:ViT-B-16/openai", "open_clip:"),
        ("OPEN_CLIP:ViT-B-16/openai", "open_clip:"),
        ("HF:openai/clip-vit-base-patch32", "hf:"),
        ("hf", "hf:"),
        ("Demo", "demo"),
    ],
)
def test_a_near_scheme_is_suggested(spec: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{near}'"):
        load_encoder(spec)


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, ipo_dspy.encoders\n"
        "print([n for n in ('torch', 'open_clip', 'transformers') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
