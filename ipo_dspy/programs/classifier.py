"""A CLIP zero-shot classifier as a DSPy program whose instruction text is the CLIP template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import dspy
import orjson

from ipo_dspy.errors import ArgumentError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.programs.predict import ZeroShotPredict
from ipo_dspy.programs.tip_adapter import TipAdapter
from ipo_dspy.prompts.template import Template

if TYPE_CHECKING:
    from ipo_dspy.encoders.base import Encoder
    from ipo_dspy.images import LabeledImages


class CLIPPredict(ZeroShotPredict):
    """Finds the class name that fits an image best, by CLIP; calls no language model.

    Its instructions are a CLIP prompt template: one short phrase that describes how the images
    look and keeps the placeholder <CLASS> exactly once, such as `a photo of a <CLASS>.` Every
    class name is put in the place of <CLASS>, and the image is compared with the resulting
    phrases. Advice, rules and questions are of no use there; words about medium, material,
    colours, lighting and viewpoint are.
    """


class _ClassifierBase(dspy.Module):
    """What `CLIPClassifier` offers beside classification."""

    def __init__(
        self,
        classnames: Sequence[str],
        clip: str | Encoder | Embedder = "demo",
        template: str | Template | None = None,
        *,
        top_k: int = 5,
        demo_cache: TipAdapter | None = None,
    ) -> None:
        super().__init__()
        self.predict = CLIPPredict(classnames, clip, template, top_k=top_k, demo_cache=demo_cache)
        self.data: LabeledImages | None = None

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        clip: str | Encoder | Embedder = "demo",
        template: str | Template | None = None,
        *,
        shots: int | None = None,
        seed: int = 0,
        skip_bad_images: bool = False,
        top_k: int = 5,
        demo_cache: TipAdapter | None = None,
    ) -> Self:
        """Make a classifier of `path/<class name>/*` with the images as its `trainset`.

        Args:
            path: the folder; see `read_folder`.
            clip: as for `CLIPPredict`.
            template: as for `CLIPPredict`.
            shots: how many images of each class to take, drawn with `seed`; None takes all.
            seed: seed of the draw.
            skip_bad_images: go on without images that cannot be read.
            top_k: as for `CLIPPredict`.
            demo_cache: as for `CLIPPredict`.

        Raises:
            DataError: the folder has no usable images; the message says what to do.
        """
        from ipo_dspy.images import read_folder

        data = read_folder(path, skip_bad_images=skip_bad_images)
        return cls.from_images(
            data if shots is None else data.few_shot(shots, seed),
            clip,
            template,
            top_k=top_k,
            demo_cache=demo_cache,
        )

    @classmethod
    def from_images(
        cls,
        images: LabeledImages,
        clip: str | Encoder | Embedder = "demo",
        template: str | Template | None = None,
        *,
        top_k: int = 5,
        demo_cache: TipAdapter | None = None,
    ) -> Self:
        """Make a classifier of labelled images, which become its `trainset`.

        Args:
            images: what `read_folder`, `read_table` or `read_dataset` gives.
            clip: as for `CLIPPredict`.
            template: as for `CLIPPredict`.
            top_k: as for `CLIPPredict`.
            demo_cache: as for `CLIPPredict`.
        """
        program = cls(images.classnames, clip, template, top_k=top_k, demo_cache=demo_cache)
        program.data = images
        return program

    @classmethod
    def from_file(cls, path: str | Path, clip: str | Encoder | Embedder | None = None) -> Self:
        """Load a program that `save` wrote; `clip` replaces the encoder named in the file.

        Raises:
            ArgumentError: the file is no saved CLIPClassifier.
        """
        saved = None
        with suppress(orjson.JSONDecodeError, AttributeError):
            state = orjson.loads(Path(path).read_bytes())
            saved = state.get("predict", {}).get("clip")
        if saved is None:
            raise ArgumentError(
                f"{path} is no saved CLIPClassifier: it names no class names and encoder."
            )
        program = cls(saved["classnames"], clip or saved["encoder"])
        saved["encoder"] = program.embedder.encoder.spec
        program.load_state(state)
        return program

    def __run_identity__(self) -> dict[str, object]:
        """What decides a prediction: not the images that it was made from."""
        left_out = {"data", "history", "callbacks"}
        own = {name: value for name, value in vars(self).items() if name not in left_out}
        return {**own, "class": type(self)}

    @property
    def trainset(self) -> list[dspy.Example] | None:
        """The labelled images that came with the program, if any."""
        return None if self.data is None else list(self.data.examples)

    @property
    def classnames(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the logits."""
        return self.predict.classnames

    @property
    def template(self) -> Template:
        """The template in use."""
        return self.predict.template

    @property
    def repairs(self) -> Mapping[str, str]:
        """The instruction texts that were no templates, each with what was used instead."""
        return self.predict.repairs

    @property
    def embedder(self) -> Embedder:
        """The encoder with its kept features, shared between copies."""
        return self.predict.embedder


class CLIPClassifier(_ClassifierBase):
    """Classifies an image by one `CLIPPredict`: `program(image="cat.jpg").label`.

    Takes the arguments of `CLIPPredict` except `signature`. `data` holds labelled images where the
    program was made from them; copies share them.
    """

    def forward(self, image: object) -> dspy.Prediction:
        """Classify one image: a path, a PIL image or a `dspy.Image`."""
        return self.predict(image=image)

    async def aforward(self, image: object) -> dspy.Prediction:
        """Classify one image."""
        return await self.predict.acall(image=image)

    def predict_batch(self, images: Sequence[object]) -> list[dspy.Prediction]:
        """Classify many images in one go."""
        return self.predict.predict_batch(images)
