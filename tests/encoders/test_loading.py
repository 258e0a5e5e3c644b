from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ipo_dspy.encoders import load_encoder


def test_the_same_spec_gives_the_same_encoder(checkpoint: Callable[[str], Path]) -> None:
    spec = f"open_clip:tiny-vit/{checkpoint('tiny-vit')}"
    encoder = load_encoder(spec)
    assert load_encoder(spec) is encoder
    assert load_encoder(spec, device="cpu", precision="float32") is encoder
    assert load_encoder(spec, precision="bfloat16") is not encoder


@pytest.mark.parametrize("spec", ["", "openclip:ViT-B-16/openai", "Demo", "clip"])
def test_an_unknown_scheme_is_told_what_to_write(spec: str) -> None:
    with pytest.raises(ValueError, match=r"names no encoder;.*open_clip:MODEL/PRETRAINED"):
        load_encoder(spec)


def test_a_near_scheme_is_suggested() -> None:
    with pytest.raises(ValueError, match="did you mean 'open_clip:'"):
        load_encoder("openclip:ViT-B-16/openai")


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = (
        "import sys, ipo_dspy.encoders\n"
        "print([n for n in ('torch', 'open_clip', 'transformers') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
