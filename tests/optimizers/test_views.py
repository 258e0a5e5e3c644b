from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from ipo_dspy import CLIPClassifier
from ipo_dspy.encoders.prompted_towers import towers_of
from ipo_dspy.errors import ArgumentError
from ipo_dspy.optimizers.views import _CHANGES, Augmentation, Views, randaugment, random_crop


@pytest.fixture
def picture() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    return Image.fromarray(pixels)


def views(program: CLIPClassifier, augmentation: Augmentation, seed: int = 0) -> Views:
    return Views(towers_of(program.embedder.encoder), augmentation, seed)


@pytest.mark.parametrize("augmentation", ["crop", "randaugment", "none"])
def test_a_view_is_what_the_encoder_takes_and_can_be_had_again(
    program: CLIPClassifier, picture: Image.Image, augmentation: Augmentation
) -> None:
    one, again = (views(program, augmentation).view(picture, 3, 2) for _ in range(2))
    assert one.shape == (3, 32, 32)
    assert torch.equal(one, again)


def test_views_differ_by_epoch_image_number_and_seed(
    program: CLIPClassifier, picture: Image.Image
) -> None:
    chances = [(0, 0, 1, 0), (1, 0, 1, 0), (0, 1, 1, 0), (0, 0, 2, 0), (0, 0, 1, 1)]
    found = [
        views(program, "crop", seed).view(picture, index, epoch, number)
        for seed, index, epoch, number in chances
    ]
    assert not any(torch.equal(found[0], other) for other in found[1:])


def test_without_augmentation_a_view_is_what_tests_see(
    program: CLIPClassifier, picture: Image.Image
) -> None:
    encoder = towers_of(program.embedder.encoder).encoder
    assert torch.equal(
        views(program, "none").view(picture, 0, 1), encoder.prepare_image(picture)[0]
    )


def test_views_are_normalised_as_the_encoder_does(program: CLIPClassifier) -> None:
    grey = Image.new("RGB", (32, 32), (90, 90, 90))
    expected = towers_of(program.embedder.encoder).encoder.prepare_image(grey)[0]
    assert torch.allclose(views(program, "crop").view(grey, 0, 1), expected, atol=1e-6)


def test_crops_cover_the_areas_and_both_directions() -> None:
    ramp = Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (100, 1))).convert("RGB")
    chance = random.Random(0)
    spans = []
    for _ in range(300):
        row = np.asarray(random_crop(ramp, 32, chance))[16, :, 0].astype(int)
        spans.append(row[-1] - row[0])
    assert 0.4 < np.mean([span < 0 for span in spans]) < 0.6
    widths = np.abs(spans)
    assert widths.min() < 60
    assert widths.max() > 110


def test_every_change_keeps_size_and_mode(picture: Image.Image) -> None:
    assert len(_CHANGES) == 16
    for operation, low, high in _CHANGES:
        value = (high - low) / 3 + low
        changed = operation(picture, value, random.Random(1))
        assert (changed.size, changed.mode) == (picture.size, "RGB")


def test_randaugment_changes_most_pictures(picture: Image.Image) -> None:
    chance = random.Random(0)
    same = sum(randaugment(picture, chance).tobytes() == picture.tobytes() for _ in range(100))
    assert same < 10


def test_unknown_augmentations_are_refused(program: CLIPClassifier) -> None:
    with pytest.raises(ArgumentError, match="mixup"):
        views(program, "mixup")  # type: ignore[arg-type]
