"""Learned vectors in the towers of many architectures, and a clear no where they cannot stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from ipo_dspy import CLIPClassifier, CoOp, MaPLe, load_encoder
from ipo_dspy.encoders.prompted_towers import towers_of
from ipo_dspy.errors import EncoderError

CAUSAL = (
    "tiny-vit",
    "tiny-vit-quickgelu",
    "tiny-resnet",
    "tiny-convnext",
    "tiny-eva",
    "tiny-custom-text",
    "tiny-custom-block",
)
OTHER = ("tiny-mobileclip", "tiny-siglip", "tiny-roberta", "tiny-bidirectional", "tiny-coca")
WITHOUT_IMAGE_PROMPTS = ("tiny-convnext", "tiny-eva")
Checkpoint = Callable[[str], Path]


def program(checkpoint: Checkpoint, name: str) -> CLIPClassifier:
    encoder = load_encoder(f"open_clip:{name}/{checkpoint(name)}")
    return CLIPClassifier(["cat", "an old dog"], encoder, "a photo of a <CLASS>.")


@pytest.mark.slow
@pytest.mark.parametrize("name", CAUSAL)
def test_vectors_that_are_words_give_what_the_encoder_gives(
    checkpoint: Checkpoint, name: str, images: list[Image.Image]
) -> None:
    student = program(checkpoint, name)
    prompted = CoOp().prompted(student)
    embedder = student.embedder
    expected = embedder.text_features(student.template, student.classnames)
    found = prompted.class_features()
    assert torch.allclose(found, expected, atol=1e-5)
    pixels = torch.cat([prompted.towers.encoder.prepare_image(image) for image in images])
    expected = embedder.logits(embedder.image_features(images), expected)
    assert torch.allclose(prompted.logits(pixels), expected, atol=1e-3)
    prompted.loss(pixels, torch.tensor([0, 1, 0, 1, 0])).backward()
    assert prompted.vectors.grad is not None
    assert prompted.vectors.grad.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CAUSAL if name not in WITHOUT_IMAGE_PROMPTS])
def test_image_prompts_that_nothing_looks_at_change_nothing(
    checkpoint: Checkpoint, name: str, images: list[Image.Image]
) -> None:
    """Without a prompt the tower with places for one gives what the library's own gives."""
    towers = towers_of(program(checkpoint, name).embedder.encoder)
    pixels = torch.cat([towers.encoder.prepare_image(image) for image in images])
    none = torch.zeros(0, towers.image.width)
    assert torch.allclose(
        towers.image.features(pixels, none), towers.image.features(pixels), atol=1e-5
    )
    some = torch.ones(2, towers.image.width)
    assert not torch.allclose(
        towers.image.features(pixels, some), towers.image.features(pixels), atol=1e-4
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", WITHOUT_IMAGE_PROMPTS)
def test_image_towers_without_tokens_are_refused_for_image_prompts(
    checkpoint: Checkpoint, name: str
) -> None:
    with pytest.raises(EncoderError, match="CoOp"):
        MaPLe().prompted(program(checkpoint, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHER)
def test_text_towers_that_are_not_causal_are_refused(checkpoint: Checkpoint, name: str) -> None:
    for learner in (CoOp(), MaPLe()):
        with pytest.raises(EncoderError, match="causal"):
            learner.prompted(program(checkpoint, name))
