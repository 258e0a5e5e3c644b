"""A CLIP zero-shot classifier as a DSPy program whose instruction text is the CLIP template."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import dspy
import orjson

from ipo_dspy.signatures import ClassifyImage
from ipo_dspy.template import DEFAULT_TEMPLATE, SLOT, Template
from ipo_dspy.zero_shot import Probabilities, ZeroShot

if TYPE_CHECKING:
    from torch import Tensor

    from ipo_dspy.data import LabeledImages
    from ipo_dspy.encoders.base import Encoder

logger = logging.getLogger(__name__)

_DSPY_DEFAULT = "Given the fields"


class CLIPPredict(dspy.Predict):
    """Predicts `label` from `image` by zero-shot classification; calls no language model.

    The signature's instructions are the template, read at every call, so whatever optimises
    instructions optimises the template. Texts that are no template are repaired
    (`Template.repair`), with one log line per text: `forward` never fails on a text.

    Args:
        classnames: the names of the classes, in the order of the logits.
        clip: an encoder, its spec for `load_encoder`, or a `ZeroShot` to share.
        template: the first template; None takes the signature's instructions, or where they say
            nothing `a photo of a <CLASS>.`
        signature: a signature with the fields `image` and `label`.
        top_k: how many classes `scores` lists.

    Raises:
        ValueError: there are no class names, one is empty, or one comes twice.
        InvalidTemplateError: `template` is not one.
    """

    signature: type[dspy.Signature]

    def __init__(
        self,
        classnames: Sequence[str],
        clip: str | Encoder | ZeroShot = "demo",
        template: str | Template | None = None,
        *,
        signature: type[dspy.Signature] = ClassifyImage,
        top_k: int = 5,
    ) -> None:
        if template is not None:
            signature = signature.with_instructions(Template(str(template)).text)
        elif signature.instructions.startswith(_DSPY_DEFAULT):
            signature = signature.with_instructions(DEFAULT_TEMPLATE.text)
        super().__init__(signature)
        self.classnames = _checked(classnames)
        self.zero_shot = _zero_shot(clip)
        self.top_k = top_k
        self._templates: dict[str, Template] = {}

    @property
    def template(self) -> Template:
        """The template in use: the instructions, repaired where they are none."""
        return self.template_of(self.signature)

    @property
    def effective_templates(self) -> tuple[str, ...]:
        """The single-slot lines in use; more than one are an ensemble."""
        return self.template.lines

    def template_of(self, signature: type[dspy.Signature]) -> Template:
        """Read the template of a signature, repairing its instructions where they are none."""
        text = signature.instructions
        if text not in self._templates:
            self._templates[text] = self._read(text)
        return self._templates[text]

    def _read(self, text: str) -> Template:
        limit = self.zero_shot.encoder.context_length
        template = Template.repair(text)
        if self.zero_shot.count_tokens(template, self.classnames) > limit:
            template = Template.repair(template.text.replace(SLOT, " "))
        if template.lines != tuple(line.strip() for line in text.splitlines() if line.strip()):
            logger.warning(
                "The instructions %r are no CLIP template of at most %d tokens with one %s in "
                "each line; classifying with %r instead.",
                text,
                limit,
                SLOT,
                template.text,
            )
        return template

    def forward(self, **kwargs: Any) -> dspy.Prediction:
        """Classify one image: a path, a PIL image or a `dspy.Image`.

        Returns:
            `label`, and `scores`: the `top_k` most probable classes with their probabilities.
        """
        signature = kwargs.pop("signature", None) or self.signature
        record = kwargs.pop("_trace", True)
        for name in ("demos", "config", "lm"):
            kwargs.pop(name, None)
        if "image" not in kwargs:
            raise ValueError("CLIPPredict expects image=..., a path, a PIL image or a dspy.Image.")
        prediction = self.predict_batch([kwargs["image"]], signature=signature)[0]
        trace = dspy.settings.trace
        if record and trace is not None and dspy.settings.max_trace_size > 0:
            if len(trace) >= dspy.settings.max_trace_size:
                trace.pop(0)
            trace.append((self, dict(kwargs), prediction))
        return prediction

    async def aforward(self, **kwargs: Any) -> dspy.Prediction:
        """Classify one image; the work is done in the calling thread."""
        return self.forward(**kwargs)

    def predict_batch(
        self, images: Sequence[object], signature: type[dspy.Signature] | None = None
    ) -> list[dspy.Prediction]:
        """Classify many images in one go; leaves no trace."""
        if not images:
            return []
        template = self.template_of(signature or self.signature)
        features = self.zero_shot.image_features(images)
        return self.predictions(self.logits(features, template))

    def logits(self, image_features: Tensor, template: Template) -> Tensor:
        """Compare [N, D] image features with the template's classes: [N, C]."""
        texts = self.zero_shot.text_features(template, self.classnames)
        return self.zero_shot.logits(image_features, texts)

    def predictions(self, logits: Tensor) -> list[dspy.Prediction]:
        """Turn [N, C] logits into N predictions."""
        probabilities = logits.softmax(dim=-1)
        top = probabilities.topk(min(self.top_k, len(self.classnames)), dim=-1)
        # Ties must fall as in `clip_acc.from_logits`, which sees only logits.
        best = logits.argmax(dim=-1).tolist()
        result = []
        rows = zip(
            best, top.indices.tolist(), top.values.tolist(), probabilities.numpy(), strict=True
        )
        for index, top_indices, top_values, row in rows:
            scores = {
                self.classnames[i]: value for i, value in zip(top_indices, top_values, strict=True)
            }
            prediction = dspy.Prediction(scores=scores, label=self.classnames[index])
            prediction._probabilities = Probabilities(self.classnames, row)
            result.append(prediction)
        return result

    def __setstate__(self, state: dict[str, Any]) -> None:
        # InferRules writes into the signature class in place: every copy needs a class of its own.
        super().__setstate__(state)
        self.signature = self.signature.with_instructions(self.signature.instructions)

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Give what `load_state` needs: template, class names and encoder spec; no weights."""
        state: dict[str, Any] = {"traces": [], "train": [], "demos": [], "lm": None}
        state["signature"] = self.signature.dump_state()
        state["clip"] = {
            "encoder": self.zero_shot.encoder.spec,
            "classnames": list(self.classnames),
            "top_k": self.top_k,
        }
        return state

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> Self:
        """Take over a saved template, its class names and its encoder."""
        clip = state["clip"]
        super().load_state({key: value for key, value in state.items() if key != "clip"})
        self.classnames = _checked(clip["classnames"])
        self._templates = {}
        self.top_k = clip["top_k"]
        if clip["encoder"] != self.zero_shot.encoder.spec:
            self.zero_shot = _zero_shot(clip["encoder"])
        return self


class CLIPClassifier(dspy.Module):
    """A program around one `CLIPPredict`: `program(image="cat.jpg").label`.

    Takes the arguments of `CLIPPredict`. `data` holds labelled images where the program was made
    from a folder; copies share them.
    """

    def __init__(
        self,
        classnames: Sequence[str],
        clip: str | Encoder | ZeroShot = "demo",
        template: str | Template | None = None,
        *,
        top_k: int = 5,
    ) -> None:
        super().__init__()
        self.predict = CLIPPredict(classnames, clip, template, top_k=top_k)
        self.data: LabeledImages | None = None

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        clip: str | Encoder | ZeroShot = "demo",
        template: str | Template | None = None,
        *,
        shots: int | None = None,
        seed: int = 0,
        skip_bad_images: bool = False,
        top_k: int = 5,
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

        Raises:
            DataError: the folder has no usable images; the message says what to do.
        """
        from ipo_dspy.data import read_folder

        data = read_folder(path, skip_bad_images=skip_bad_images)
        program = cls(data.classnames, clip, template, top_k=top_k)
        program.data = data if shots is None else data.few_shot(shots, seed)
        return program

    @classmethod
    def from_file(cls, path: str | Path, clip: str | Encoder | ZeroShot | None = None) -> Self:
        """Load a program that `save` wrote; `clip` replaces the encoder named in the file.

        Raises:
            ValueError: the file is no saved CLIPClassifier.
        """
        state = orjson.loads(Path(path).read_bytes())
        saved = state.get("predict", {}).get("clip")
        if saved is None:
            raise ValueError(
                f"{path} is no saved CLIPClassifier: it names no class names and encoder."
            )
        program = cls(saved["classnames"], clip or saved["encoder"])
        saved["encoder"] = program.zero_shot.encoder.spec
        program.load_state(state)
        return program

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
    def zero_shot(self) -> ZeroShot:
        """The encoder with its kept features, shared between copies."""
        return self.predict.zero_shot

    def forward(self, image: object) -> dspy.Prediction:
        """Classify one image: a path, a PIL image or a `dspy.Image`."""
        return self.predict(image=image)

    async def aforward(self, image: object) -> dspy.Prediction:
        """Classify one image."""
        return await self.predict.acall(image=image)

    def predict_batch(self, images: Sequence[object]) -> list[dspy.Prediction]:
        """Classify many images in one go."""
        return self.predict.predict_batch(images)


def _checked(classnames: Sequence[str]) -> tuple[str, ...]:
    if isinstance(classnames, str):
        raise ValueError(f"Expected a list of class names, got the single text {classnames!r}.")
    names = tuple(classnames)
    if not names:
        raise ValueError("Expected at least one class name, got none.")
    empty = [index for index, name in enumerate(names) if not name.strip()]
    if empty:
        raise ValueError(f"Class name number {empty[0]} is empty; give every class a name.")
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"The class name {name!r} comes twice; class names must differ.")
        seen.add(name)
    return names


def _zero_shot(clip: str | Encoder | ZeroShot) -> ZeroShot:
    if isinstance(clip, ZeroShot):
        return clip
    if isinstance(clip, str):
        from ipo_dspy.encoders import load_encoder

        clip = load_encoder(clip)
    return ZeroShot(clip)
