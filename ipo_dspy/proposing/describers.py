"""Texts about the training images, made once, for the prompt model to read."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

import dspy

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, NotNegative, checked
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.prompts.vocabulary import VOCABULARY
from ipo_dspy.prompts.wording import DescribeImage
from ipo_dspy.proposing.ask import Endpoint
from ipo_dspy.proposing.models import Connection, vision_model
from ipo_dspy.records import Description
from ipo_dspy.runs.calls import Calls

logger = logging.getLogger(__name__)
_FILE = "file:"

MASK = "object"
"""What stands for a class name that slipped into a description."""


class Describer(Protocol):
    """Makes one text for each image."""

    @property
    def spec(self) -> str:
        """Names the describer and its settings in the journal."""

    @property
    def calls_per_image(self) -> int:
        """How many calls of a paid model one description takes."""

    def describe(self, images: Mapping[int, object]) -> Iterator[Description]:
        """Describe images, each under its number, in the order in which the texts arrive."""


@checked
@dataclass(frozen=True)
class LMDescriber:
    """Asks a vision model the question of `DescribeImage`, several images at the same time.

    Args:
        lm: a `dspy.LM` that takes images.
        num_threads: how many calls may be out at once.
        temperature: of the calls; the paper's descriptions were sampled at 0.7. None leaves it to
            the model, as some take no other than their own.
    """

    lm: dspy.BaseLM
    num_threads: Count = 8
    temperature: NotNegative | None = 0.7
    calls_per_image: ClassVar[int] = 1

    @property
    def spec(self) -> str:
        """The model's name, and the temperature unless it is the model's own."""
        sampled = "" if self.temperature is None else f", temperature {self.temperature:g}"
        return f"lm:{self.lm.model}{sampled}"

    def describe(self, images: Mapping[int, object]) -> Iterator[Description]:
        """Describe images; see `Describer.describe`.

        Raises:
            SearchStoppedError: the model cannot be used at all.
            OutOfTimeError: the time of the run is up.
        """
        endpoint = Endpoint(self.lm)
        with Calls[Description](self.num_threads) as calls:
            out = [
                calls.submit(partial(self._ask, endpoint, index, image))
                for index, image in images.items()
            ]
            while out:
                for future in calls.wait(out):
                    out.remove(future)
                    yield future.result()

    def _ask(self, endpoint: Endpoint, index: int, image: object) -> Description:
        retries: list[str] = []
        text, error, *_ = endpoint.ask(
            dspy.Predict(DescribeImage),
            "description",
            {"image": _for_lm(image)},
            {"temperature": self.temperature},
            retries.append,
        )
        return Description(index=index, text=text, error=error, retries=tuple(retries))


@checked
@dataclass(frozen=True)
class VocabularyDescriber:
    """Lets the encoder rank a vocabulary of visual words for each image; needs no vision model.

    Args:
        embedder: the encoder with its kept features.
        words: how many of the best words describe an image.
    """

    embedder: Embedder
    words: Count = 8
    calls_per_image: ClassVar[int] = 0
    lists_words: ClassVar[bool] = True

    @property
    def spec(self) -> str:
        """The number of words."""
        return f"vocabulary:{self.words}"

    def describe(self, images: Mapping[int, object]) -> Iterator[Description]:
        """Describe images by their best words, best first, with commas between them."""
        import torch

        words = [word for group in VOCABULARY.values() for word in group]
        with torch.inference_mode():
            texts = self.embedder.encoder.encode_texts(words)
            logits = self.embedder.logits(
                self.embedder.image_features(list(images.values())), texts
            )
            best = logits.topk(min(self.words, len(words)), dim=-1).indices.tolist()
        for index, row in zip(images, best, strict=True):
            yield Description(index=index, text=", ".join(words[word] for word in row))


@checked
@dataclass(frozen=True)
class FileDescriber:
    """Reads descriptions from a text file: line i belongs to the i-th image that is described.

    Args:
        path: a UTF-8 text file; empty lines do not count.
    """

    path: str | Path
    calls_per_image: ClassVar[int] = 0

    @property
    def spec(self) -> str:
        """The file's name."""
        return f"file:{Path(self.path).name}"

    def check(self, count: int = 0) -> list[str]:
        """Give the lines that are not empty, once it is clear that there are enough.

        Args:
            count: how many images are described.

        Raises:
            ArgumentError: the file cannot be read, or has fewer lines than there are images.
        """
        try:
            lines = Path(self.path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentError(
                f"The descriptions {self.path} cannot be read as UTF-8 text: {error}."
            ) from error
        texts = [line.strip() for line in lines if line.strip()]
        if count > len(texts):
            raise ArgumentError(
                f"{self.path} has {len(texts)} descriptions, but {count} images are described; "
                "give one line for each, in the order of the training set."
            )
        return texts

    def describe(self, images: Mapping[int, object]) -> Iterator[Description]:
        """Read the descriptions; see `Describer.describe`.

        Raises:
            ArgumentError: the file cannot be read, or has fewer lines than there are images.
        """
        texts = self.check(max(images, default=-1) + 1)
        for index in images:
            yield Description(index=index, text=texts[index])


@checked
@dataclass(frozen=True)
class NoDescriber:
    """Describes nothing: the prompt model sees no descriptions."""

    spec: ClassVar[str] = "none"
    calls_per_image: ClassVar[int] = 0

    def describe(self, images: Mapping[int, object]) -> Iterator[Description]:
        """Give no text for any image."""
        return iter(())


def mask_class_names(texts: Sequence[str], classnames: Sequence[str]) -> list[str]:
    """Put `object` where a description names a class; says in the log how often.

    The prompt has to fit all classes, so a description must not name one.
    """
    names = sorted(classnames, key=len, reverse=True)
    pattern = re.compile(
        # Not within a word; an underscore divides words.
        r"(?<![^\W_])(?:" + "|".join(_either_number(name) for name in names) + r")(?![^\W_])",
        re.IGNORECASE,
    )
    masked = [pattern.subn(MASK, text) for text in texts]
    found = sum(count for _, count in masked)
    if found:
        logger.warning("Masked %d class names in the image descriptions.", found)
    return [text for text, _ in masked]


def _either_number(name: str) -> str:
    """A pattern for a name and its regular plural, its words apart by blanks or joined."""
    words = [re.escape(word) for word in re.split(r"[\s_-]+", name) if word]
    if not words:
        return re.escape(name)
    text = r"[\s_-]+".join(words)
    plural = rf"|{text[:-1]}ies" if text.endswith("y") else ""
    return rf"{text}(?:s|es)?{plural}"


def _for_lm(image: object) -> Any:
    from ipo_dspy.images.image import ImageFile

    if isinstance(image, str | Path) and not str(image).startswith(("http", "data:")):
        return ImageFile(image)
    return image if isinstance(image, dspy.Image) else dspy.Image(image)


def make_describer(
    spec: str,
    *,
    num_threads: int = 8,
    trust_remote_code: bool = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> Describer | None:
    """Make what describes images; None lets the encoder rank a vocabulary.

    Args:
        spec: `vocabulary`, `none`, `file:PATH` with a description a line, or a model that sees
            images, as for `vision_model`.
        num_threads: most calls of a model at the same time.
        trust_remote_code: run model code that comes with the weights.
        connection: how a model is reached over the network.

    Raises:
        ArgumentError: the spec names no model that sees images, or no file.
    """
    if spec == "vocabulary":
        return None
    if spec == "none":
        return NoDescriber()
    if spec.startswith(_FILE):
        path = Path(spec.removeprefix(_FILE)).expanduser()
        if not path.is_file():
            raise ArgumentError(f"There is no file of descriptions {path}.")
        described = FileDescriber(path)
        described.check()
        return described
    lm = vision_model(spec, trust_remote_code=trust_remote_code, connection=connection)
    return LMDescriber(lm, num_threads)
