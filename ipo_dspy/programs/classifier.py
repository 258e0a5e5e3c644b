"""A CLIP zero-shot classifier as a DSPy program whose instruction text is the CLIP template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import dspy
import orjson

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Count, checked
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.names import saved_classnames
from ipo_dspy.images.shown import cell, table
from ipo_dspy.programs.confusion import confused_classes
from ipo_dspy.programs.describe import DescribePredict
from ipo_dspy.programs.predict import ZeroShotPredict, label_field, local_encoder
from ipo_dspy.programs.state import read_describe, read_predictor, read_program
from ipo_dspy.programs.tensor_file import move_to_file, read_from_file
from ipo_dspy.programs.tip_adapter import TipAdapter
from ipo_dspy.prompts.class_texts import ClassTexts
from ipo_dspy.prompts.template import Template
from ipo_dspy.runs.folder import write_whole

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


_ENDINGS = (".json", ".pkl")
"""Of the files that DSPy saves states in."""


@checked
class _ClassifierBase(dspy.Module):
    """What `CLIPClassifier` offers beside classification."""

    def __init__(
        self,
        classnames: Sequence[str],
        clip: str | Encoder | Embedder = "demo",
        template: str | Template | None = None,
        *,
        top_k: Count = 5,
        demo_cache: TipAdapter | None = None,
        class_texts: Mapping[str, Sequence[str]] | None = None,
        describe: Count | DescribePredict | None = None,
    ) -> None:
        super().__init__()
        self.predict = CLIPPredict(
            classnames,
            clip,
            template,
            top_k=top_k,
            demo_cache=demo_cache,
            class_texts=class_texts,
        )
        if describe is not None and not isinstance(describe, DescribePredict):
            describe = DescribePredict(describe)
        self.describe: DescribePredict | None = describe
        self.data: LabeledImages | None = None
        self._keep_texts()

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        clip: str | Encoder | Embedder = "demo",
        template: str | Template | None = None,
        *,
        shots: Count | None = None,
        seed: int = 0,
        skip_bad_images: bool = False,
        top_k: Count = 5,
        demo_cache: TipAdapter | None = None,
        describe: Count | DescribePredict | None = None,
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
            describe: most texts for each class, or what describes it; None has none.

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
            describe=describe,
        )

    @classmethod
    def from_images(
        cls,
        images: LabeledImages,
        clip: str | Encoder | Embedder = "demo",
        template: str | Template | None = None,
        *,
        top_k: Count = 5,
        demo_cache: TipAdapter | None = None,
        describe: Count | DescribePredict | None = None,
    ) -> Self:
        """Make a classifier of labelled images, which become its `trainset`.

        Args:
            images: what `read_folder`, `read_table` or `read_dataset` gives.
            clip: as for `CLIPPredict`.
            template: as for `CLIPPredict`.
            top_k: as for `CLIPPredict`.
            demo_cache: as for `CLIPPredict`.
            describe: most texts for each class, or what describes it; None has none.
        """
        program = cls(
            images.classnames,
            clip,
            template,
            top_k=top_k,
            demo_cache=demo_cache,
            describe=describe,
        )
        program.data = images
        return program

    @classmethod
    def from_file(cls, path: str | Path, clip: str | Encoder | Embedder | None = None) -> Self:
        """Load a program that `save` wrote; `clip` replaces the encoder named in the file.

        A file runs no code and fetches nothing: weights that are not on this machine come with
        `clip=load_encoder(spec)`.

        Raises:
            ArgumentError: the file is no saved CLIPClassifier, or its tensors are not those it was
                saved with.
            EncoderError: the encoder named in the file is not on this machine, or does not load.
            StorageError: the file, or the file with its tensors, cannot be read.
        """
        state = read_program(path)
        saved = read_predictor(state["predict"]).clip
        _read_tensors(state, Path(path))
        encoder = local_encoder(saved.encoder) if clip is None else clip
        describe = read_describe(state["describe"]).count if "describe" in state else None
        program = cls(saved_classnames(saved.classnames), encoder, describe=describe)
        state["predict"]["clip"]["encoder"] = program.embedder.encoder.spec
        program.load_state(state)
        return program

    def save(
        self,
        path: str | Path,
        save_program: bool = False,
        modules_to_serialize: list[Any] | None = None,
    ) -> None:
        """Save as `dspy.Module.save` does; what was learned goes to a safetensors file beside.

        Raises:
            ArgumentError: `path` ends in neither `.json` nor `.pkl`, or with `save_program` in
                something.
        """
        if bool(Path(path).suffix) if save_program else Path(path).suffix not in _ENDINGS:
            needed = "be a folder" if save_program else f"end in {' or '.join(_ENDINGS)}"
            name = f"{type(self).__name__}.save"
            raise ArgumentError(f"{name}: path must {needed}, got {str(path)!r}.")
        super().save(path, save_program, modules_to_serialize)
        path = Path(path)
        if self.predict.learned is not None and path.suffix == ".json":
            state = orjson.loads(path.read_bytes())
            move_to_file(state["predict"]["clip"]["learned"]["tensors"], path)
            content = orjson.dumps(state, option=orjson.OPT_INDENT_2)
            write_whole(path, lambda unfinished: unfinished.write_bytes(content))

    def load(
        self,
        path: str | Path,
        allow_pickle: bool = False,
        allow_unsafe_lm_state: bool = False,
    ) -> None:
        """Load what `save` wrote into this program; see `dspy.Module.load`.

        Raises:
            ArgumentError: `path` ends in neither `.json` nor `.pkl`, or holds no such program.
        """
        path = Path(path)
        if path.suffix not in _ENDINGS:
            raise ArgumentError(
                f"{type(self).__name__}.load: path must end in {' or '.join(_ENDINGS)}, got "
                f"{str(path)!r}."
            )
        if path.suffix == ".json":
            state = read_program(path)
            _read_tensors(state, path)
            self.load_state(state)
            return
        super().load(path, allow_pickle, allow_unsafe_lm_state)

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Give what `load_state` needs: everything but weights, and no language model.

        Of the texts for each class, those that the present instruction made; where it was not
        asked yet, none.
        """
        if self.describe is not None:
            self.predict.class_texts = self.describe.known
        state: dict[str, Any] = super().dump_state(json_mode)
        return state

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        """Take over what `dump_state` gave; see `dspy.Module.load_state`.

        Raises:
            ArgumentError: it is none of a CLIPClassifier; the message says where.
        """
        read_predictor(state.get("predict"))
        described = state.get("describe")
        if described is None or self.describe is None:
            self.describe = described and DescribePredict(read_describe(described).count)
        super().load_state(state, allow_unsafe_lm_state=allow_unsafe_lm_state)
        self._keep_texts()

    def _keep_texts(self) -> None:
        """What there are of texts counts as said with the present instruction."""
        if self.describe is not None and self.predict.class_texts:
            self.describe.use(self.predict.class_texts)

    def describe_classes(self) -> None:
        """Ask for the texts that the present instruction has not given yet.

        Classes come first that the template confuses most, by the program's images where it has
        some. Predictions do this by themselves; here, what is asked costs no time then.

        Raises:
            Exception: whatever the language model raises.
        """
        if self.describe is None:
            return
        if self.describe.lacking(self.classnames):
            confused = confused_classes(self.predict, self.classnames, self.trainset or ())
            self.describe.describe(confused, self.template.text)
        self.predict.class_texts = self.describe.known

    def _traced(self, prediction: dspy.Prediction) -> dspy.Prediction:
        """Show optimizers what was said of the class that was predicted."""
        if self.describe is not None:
            predicted = prediction[label_field(self.predict.signature)]
            self.describe.trace(predicted, self.template.text)
        return prediction

    def for_classes(self, classnames: Sequence[str]) -> Self:
        """The same program for other classes; learned vectors take the new names as they are.

        Texts for each class are asked for with the same instruction, where there is one.

        Raises:
            ArgumentError: there are no class names, one is empty, or one comes twice.
        """
        program = self.deepcopy()
        program.predict.use_classnames(classnames)
        program.data = None
        return program

    def nearest_words(self) -> object:
        """Find the words nearest to each learned vector; printed, a table with distances.

        Raises:
            ArgumentError: the program was not learned: its template is words already.
        """
        learned = self.predict.learned
        if learned is None:
            raise ArgumentError(
                f"Nothing was learned in this program; it classifies with {self.template.text!r}."
            )
        return learned.nearest_words(self.embedder)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self.classnames):,} classes, "
            f"{self.embedder.encoder.spec!r}, {self.template.text!r})"
        )

    def _repr_html_(self) -> str:
        """What it classifies with, and its images, for notebooks."""
        rows = [
            ("template", cell(self.template.text)),
            ("encoder", cell(self.embedder.encoder.spec)),
            (f"{len(self.classnames):,} classes", cell(", ".join(map(str, self.classnames)))),
        ]
        images = "" if self.data is None else self.data._repr_html_()
        return table(type(self).__name__, ("", ""), rows) + images

    def __run_identity__(self) -> dict[str, object]:
        """What decides a prediction: not the images that it was made from."""
        left_out = {"data", "history", "callbacks"} | ({"describe"} if not self.describe else set())
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
    def class_texts(self) -> ClassTexts:
        """The descriptions of classes, by class name: those there are with this instruction."""
        return self.predict.class_texts if self.describe is None else self.describe.known

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
    program was made from them; copies share them. `describe=5` lets a second predictor describe
    every class by up to five short texts, which are put behind the template; its instruction says
    how to describe a class.
    """

    @checked
    def forward(self, image: object) -> dspy.Prediction:
        """Classify one image: a path, a PIL image or a `dspy.Image`."""
        self.describe_classes()
        return self._traced(self.predict(image=image))

    async def aforward(self, image: object) -> dspy.Prediction:
        """Classify one image."""
        self.describe_classes()
        return self._traced(await self.predict.acall(image=image))

    def predict_batch(self, images: Sequence[object]) -> list[dspy.Prediction]:
        """Classify many images in one go."""
        self.describe_classes()
        return self.predict.predict_batch(images)


def _learned_in(state: Mapping[str, Any]) -> dict[str, Any] | None:
    """What was learned, in the state of a program."""
    predict = state.get("predict")
    clip = predict.get("clip") if isinstance(predict, dict) else None
    learned = clip.get("learned") if isinstance(clip, dict) else None
    return learned if isinstance(learned, dict) else None


def _read_tensors(state: Mapping[str, Any], path: Path) -> None:
    """Bring the tensors beside a program's file into its state."""
    learned = _learned_in(state)
    if learned is not None:
        read_from_file(learned["tensors"], path)
