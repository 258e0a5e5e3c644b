"""A training-free cache: what optimizers put into `predictor.demos`, beside the text logits."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.request import url2pathname

import dspy
import orjson
import PIL.Image

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Dimensions, Positive, checked
from ipo_dspy.images.image import DatasetImage, ImageFile, ImageSource, open_image

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ipo_dspy.features.embedder import Embedder

logger = logging.getLogger(__name__)

_FILE = "file://"
_WEB = ("http://", "https://")
# How dspy.Image looks where it became part of a text.
_IN_TEXT = re.compile(
    "<<CUSTOM-TYPE-START-IDENTIFIER>>(.*?)<<CUSTOM-TYPE-END-IDENTIFIER>>", re.DOTALL
)


@checked
@dataclass(frozen=True)
class TipAdapter:
    """Adds to each class's logit how much an image resembles the class's demos.

    To the logit of its class, every demo adds `weight * exp(-sharpness * (1 - cosine))`, the cosine
    being that of the two images' features. This is Tip-Adapter without training (Zhang et al.,
    ECCV 2022), where `weight` is called alpha and `sharpness` beta; the defaults are its values for
    ImageNet. Both are worth tuning on images that are neither demos nor test images.

    Classes gain with every demo they have, so each should have the same number of them, as
    `LabeledFewShot(k=len(trainset))` gives on a balanced set. BootstrapFewShot stops at the first
    demos it finds: shuffle the training set, and give it many. Find the template first and the
    demos then, since a training image that is a demo recognises itself.

    Args:
        weight: what a demo equal to the image adds, in units of the encoder's logits; above 0.
        sharpness: how fast resemblance fades with the angle; above 0.

    Raises:
        ArgumentError: a value is not above 0.
    """

    weight: Positive = 1.0
    sharpness: Positive = 5.5

    def logits(
        self,
        image_features: Annotated[Tensor, Dimensions(2)],
        demo_features: Annotated[Tensor, Dimensions(2)],
        demo_classes: Annotated[Tensor, Dimensions(2)],
    ) -> Tensor:
        """What the demos add to the text logits.

        Args:
            image_features: [N, D] unit length.
            demo_features: [M, D] unit length.
            demo_classes: [M, C], one-hot.

        Returns:
            [N, C] on the CPU.
        """
        affinity = (self.sharpness * (image_features @ demo_features.T - 1.0)).exp()
        return self.weight * affinity.float().cpu() @ demo_classes


@dataclass(frozen=True)
class LabelledDemos:
    """The demos that can be used: images and the indices of their classes."""

    images: tuple[ImageSource, ...]
    classes: tuple[int, ...]

    @classmethod
    def of(
        cls, demos: Sequence[Mapping[str, Any]], image: str, label: str, classnames: Sequence[str]
    ) -> LabelledDemos:
        """Pick the demos that have an image and a label among the class names.

        Optimizers also leave behind demos of other classes, and images cut to a piece of text.
        """
        indices = {name: index for index, name in enumerate(classnames)}
        images, classes = [], []
        for demo in demos:
            found = image_in(demo.get(image))
            if found is not None and demo.get(label) in indices:
                images.append(found)
                classes.append(indices[demo[label]])
        if len(images) < len(demos):
            _report_left_out(len(demos) - len(images), len(demos), image, label)
        return cls(tuple(images), tuple(classes))


@lru_cache
def _report_left_out(count: int, total: int, image: str, label: str) -> None:
    """Say once, not at every prediction, that demos cannot be used."""
    logger.warning(
        "%d of %d demos are left out of the cache: they have no whole %r or no %r among the class "
        "names.",
        count,
        total,
        image,
        label,
    )


def image_in(value: object) -> ImageSource | None:
    """Find the image a demo's field holds: as it was put there, or as text made of it."""
    if isinstance(value, dspy.Image | PIL.Image.Image | os.PathLike):
        return value
    return _image_in_text(value) if isinstance(value, str) else None


def _image_in_text(text: str) -> ImageSource | None:
    match = _IN_TEXT.search(text)
    address = str(orjson.loads(match[1])[0]["image_url"]["url"]) if match else text
    if address.startswith(_FILE):
        return ImageFile(url2pathname(address.removeprefix(_FILE)))
    if address.startswith(("data:", "http://", "https://")):
        return dspy.Image(address)
    return Path(address) if "\n" not in address and "<<CUSTOM-TYPE" not in address else None


def saved_demos(demos: Sequence[Mapping[str, Any]], image: str, label: str) -> list[dict[str, str]]:
    """Turn demos into JSON: files by their path, other images as data."""
    saved = []
    for demo in demos:
        found = image_in(demo.get(image))
        if found is not None:
            saved.append({image: _address(found), label: str(demo.get(label))})
    return saved


def loaded_demos(saved: Sequence[Mapping[str, str]], image: str) -> list[dspy.Example]:
    """Turn what `saved_demos` wrote into demos again; nothing is fetched.

    Raises:
        ArgumentError: a demo has no image, or only the address of one.
    """
    demos = []
    for number, demo in enumerate(saved):
        text = demo.get(image, "")
        try:
            found = image_in(text) if text and not text.startswith(_WEB) else None
        except (ValueError, LookupError, TypeError):
            found = None
        if found is None or str(getattr(found, "url", "")).startswith(_WEB):
            raise ArgumentError(
                f"Demo {number} of the saved program has no {image} that can be used: "
                f"{text[:80]!r}; expected a file or the image itself, for nothing is fetched."
            )
        demos.append(dspy.Example({**demo, image: found}))
    return demos


def _address(image: ImageSource) -> str:
    if isinstance(image, str | os.PathLike):
        image = ImageFile(image)
    elif isinstance(image, PIL.Image.Image):
        image = dspy.Image(image)
    elif str(getattr(image, "url", "")).startswith(_WEB):
        # The file must do without the network.
        image = dspy.Image(open_image(image))
    if isinstance(image, DatasetImage):
        return str(image.format()[0]["image_url"]["url"])
    return str(image.url)


@checked
@dataclass(frozen=True)
class ImageVectorizer:
    """The vectorizer that lets `dspy.KNNFewShot` find the images that look most alike.

    `KNNFewShot(k=8, trainset=trainset, vectorizer=ImageVectorizer(program.embedder))`. DSPy gives
    vectorizers the inputs of an example as one text; this one takes the image out of the text.
    """

    embedder: Embedder

    @checked
    def __call__(self, texts: Sequence[str]) -> np.ndarray[Any, Any]:
        """Encode the image in each text: [N, D] float32, unit length.

        Raises:
            ArgumentError: a text holds no image.
        """
        images = [image_in(text) if _IN_TEXT.search(text) else None for text in texts]
        for text, image in zip(texts, images, strict=True):
            if image is None:
                raise ArgumentError(
                    f"Expected an input that is a dspy.Image, got {text[:80]!r}; make the examples "
                    "with dspy.Image.from_path(...), or load them with read_folder(...)."
                )
        features: np.ndarray[Any, Any] = self.embedder.image_features(images).cpu().numpy()
        return features


DemoCache = TipAdapter
"""What `TipAdapter` was called in 0.1."""
