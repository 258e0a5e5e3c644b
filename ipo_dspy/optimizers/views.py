"""What of an image a training step sees: crops and flips, or changes of colour and shape."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import Tensor

from ipo_dspy.errors import ArgumentError

if TYPE_CHECKING:
    from ipo_dspy.encoders.prompted_towers import Towers

Augmentation = Literal["crop", "randaugment", "none"]
"""`crop`: random resized crop and flip; `randaugment`: two random changes; `none`: as in tests."""

_AREA = (0.08, 1.0)
_ASPECT = (3 / 4, 4 / 3)
_TRIES = 10
_OPERATIONS = 2
_MAGNITUDE = 10 / 30
_CUTOUT_COLOUR = (125, 123, 114)


class Views:
    """Prepares views of images as an encoder takes them; the same arguments give the same view.

    Args:
        towers: of the encoder.
        augmentation: what changes from view to view.
        seed: of the chance.
    """

    def __init__(self, towers: Towers, augmentation: Augmentation, seed: int) -> None:
        if augmentation not in ("crop", "randaugment", "none"):
            raise ArgumentError(
                f"augmentation must be 'crop', 'randaugment' or 'none', got {augmentation!r}."
            )
        self.augmentation = augmentation
        self._towers = towers
        self._seed = seed

    def view(self, image: Image.Image, index: int, epoch: int, number: int = 0) -> Tensor:
        """Prepare one view: [3, S, S].

        Args:
            image: RGB.
            index: which image of the training set it is.
            epoch: from 1.
            number: 0 or 1 where an image is seen twice in a step.
        """
        if self.augmentation == "none":
            prepared: Tensor = self._towers.encoder.prepare_image(image)[0]
            return prepared
        chance = random.Random(f"view {self._seed} {epoch} {index} {number}")
        size = self._towers.image_size
        if self.augmentation == "crop":
            return self._normalised(random_crop(image, size, chance))
        resized = image.resize((size, size), Image.Resampling.BICUBIC)
        return self._normalised(randaugment(resized, chance))

    def _normalised(self, image: Image.Image) -> Tensor:
        pixels = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 255
        mean, deviation = (torch.tensor(each) for each in self._towers.normalisation)
        return (pixels - mean[:, None, None]) / deviation[:, None, None]


def random_crop(image: Image.Image, size: int, chance: random.Random) -> Image.Image:
    """Cut out a random part of 8 to 100 % of the area, scale it to a square, and maybe flip it.

    The sampling is torchvision's `RandomResizedCrop`: ten tries for a part that fits, then the
    middle of the image.
    """
    part = image.crop(_part(*image.size, chance)).resize((size, size), Image.Resampling.BICUBIC)
    return ImageOps.mirror(part) if chance.random() < 0.5 else part


def _part(width: int, height: int, chance: random.Random) -> tuple[int, int, int, int]:
    for _ in range(_TRIES):
        area = width * height * chance.uniform(*_AREA)
        aspect = math.exp(chance.uniform(*map(math.log, _ASPECT)))
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = chance.randint(0, width - w), chance.randint(0, height - h)
            return left, top, left + w, top + h
    aspect = min(max(width / height, _ASPECT[0]), _ASPECT[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def randaugment(image: Image.Image, chance: random.Random) -> Image.Image:
    """Make two random changes of sixteen, each at a third of its strength.

    The changes and their strengths are those of Dassl, which the learners' authors trained with.
    """
    for operation, low, high in chance.choices(_CHANGES, k=_OPERATIONS):
        image = operation(image, _MAGNITUDE * (high - low) + low, chance)
    return image


_Change = Callable[[Image.Image, float, random.Random], Image.Image]


def _signed(value: float, chance: random.Random) -> float:
    return -value if chance.random() > 0.5 else value


def _affine(*places: float) -> Callable[[Image.Image, float], Image.Image]:
    """A linear map, of whose six coefficients the one that is 2 stands for the strength."""

    def apply(image: Image.Image, value: float) -> Image.Image:
        data = tuple(value if place == 2 else place for place in places)
        return image.transform(image.size, Image.Transform.AFFINE, data)

    return apply


def _either_way(apply: Callable[[Image.Image, float], Image.Image]) -> _Change:
    return lambda image, value, chance: apply(image, _signed(value, chance))


def _enhanced(kind: Callable[[Image.Image], ImageEnhance._Enhance]) -> _Change:
    return lambda image, value, chance: kind(image).enhance(value)


def _brightened_and_solarized(image: Image.Image, value: float, _: random.Random) -> Image.Image:
    return ImageOps.solarize(image.point(lambda pixel: min(255, pixel + int(value))), 128)


def _cut_out(image: Image.Image, value: float, chance: random.Random) -> Image.Image:
    width, height = image.size
    left = int(max(0, chance.uniform(0, width) - value / 2))
    top = int(max(0, chance.uniform(0, height) - value / 2))
    image = image.copy()
    box = (left, top, min(width, left + value), min(height, top + value))
    ImageDraw.Draw(image).rectangle(box, _CUTOUT_COLOUR)
    return image


_CHANGES: tuple[tuple[_Change, float, float], ...] = (
    (lambda image, _, __: ImageOps.autocontrast(image), 0, 1),
    (lambda image, _, __: ImageOps.equalize(image), 0, 1),
    (lambda image, _, __: ImageOps.invert(image), 0, 1),
    (_either_way(lambda image, value: image.rotate(value)), 0, 30),
    (lambda image, value, _: ImageOps.posterize(image, int(value)), 4, 8),
    (lambda image, value, _: ImageOps.solarize(image, int(value)), 0, 256),
    (_brightened_and_solarized, 0, 110),
    (_enhanced(ImageEnhance.Color), 0.1, 1.9),
    (_enhanced(ImageEnhance.Contrast), 0.1, 1.9),
    (_enhanced(ImageEnhance.Brightness), 0.1, 1.9),
    (_enhanced(ImageEnhance.Sharpness), 0.1, 1.9),
    (_either_way(_affine(1, 2, 0, 0, 1, 0)), 0, 0.3),
    (_either_way(_affine(1, 0, 0, 2, 1, 0)), 0, 0.3),
    (_cut_out, 0, 40),
    (_either_way(_affine(1, 0, 2, 0, 1, 0)), 0, 100),
    (_either_way(_affine(1, 0, 0, 0, 1, 2)), 0, 100),
)
