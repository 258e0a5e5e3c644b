"""Zero-shot classification as a `dspy.Predict`: what DSPy asks of a predictor, without an LM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Annotated, Any, Self

import dspy
from dspy.signatures.signature import ensure_signature

from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.errors.arguments import Count, Dimensions, checked
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.names import check_several, checked_classnames, saved_classnames
from ipo_dspy.programs.probabilities import Probabilities
from ipo_dspy.programs.prompt import LearnedPrompt, Prompt, TextPrompt, load_learned
from ipo_dspy.programs.state import read_predictor
from ipo_dspy.programs.tensor_file import tensors_as_text, tensors_of
from ipo_dspy.programs.tip_adapter import LabelledDemos, TipAdapter, loaded_demos, saved_demos
from ipo_dspy.prompts.class_texts import checked_class_texts
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE, Template
from ipo_dspy.prompts.template_reader import TemplateReader
from ipo_dspy.prompts.wording import ClassifyImage
from ipo_dspy.upstream.dspy_parts import says_nothing

if TYPE_CHECKING:
    from torch import Tensor

    from ipo_dspy.encoders.base import Encoder


def _declared(signature: str | type[dspy.Signature]) -> type[dspy.Signature]:
    try:
        declared: type[dspy.Signature] = ensure_signature(signature)
    except ValueError as error:
        raise ArgumentError(
            f"signature must read like 'image -> label', got {signature!r} ({error})"
        ) from error
    return declared


@checked
class ZeroShotPredict(dspy.Predict):
    """The machinery of `CLIPPredict`.

    `CLIPPredict` itself stays short, because optimizers paste the source of a program's own
    classes, and of no base class, into what they ask a language model.

    Args:
        classnames: the names of the classes, in the order of the logits.
        clip: an encoder, its spec for `load_encoder`, or a `Embedder` to share.
        template: the first template; None takes the signature's instructions, or where they say
            nothing `a photo of a <CLASS>.`
        signature: a signature with one image among its inputs; its last output is the class name.
        top_k: how many classes `scores` lists.
        demo_cache: how demos count; None leaves them without effect.
        class_texts: descriptions by class name, each put behind the template; see `TextPrompt`.

    Raises:
        ArgumentError: there are no class names, one is empty, or one comes twice; or it is not
            clear which input of the signature is the image.
        InvalidTemplateError: `template` is not one.
    """

    signature: type[dspy.Signature]

    def __init__(
        self,
        classnames: Sequence[str],
        clip: str | Encoder | Embedder = "demo",
        template: str | Template | None = None,
        *,
        signature: str | type[dspy.Signature] = ClassifyImage,
        top_k: Count = 5,
        demo_cache: TipAdapter | None = None,
        class_texts: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        declared = _declared(signature)
        self.classnames = checked_classnames(classnames)
        self.embedder = _embedder(clip)
        self._reader = TemplateReader(self.embedder, self.classnames)
        text = declared.instructions
        if template is not None:
            text = Template(str(template)).text
        elif says_nothing(text):
            text = DEFAULT_TEMPLATE.text
        # Always a class of its own, since some optimizers write into the signature class.
        super().__init__(declared.with_instructions(text))
        self.top_k = top_k
        self.demo_cache = demo_cache
        self.learned: LearnedPrompt | None = None
        self.class_texts = checked_class_texts(class_texts or {})
        image_field(self.signature)

    @property
    def template(self) -> Template:
        """The template in use: the instructions, repaired where they are none."""
        return self.template_of(self.signature)

    @property
    def effective_templates(self) -> tuple[str, ...]:
        """The single-slot lines in use; more than one are an ensemble."""
        return self.template.lines

    @property
    def repairs(self) -> Mapping[str, str]:
        """The instruction texts that were no templates, each with what was used instead.

        Counts for this predictor and all its copies, so also for what an optimizer only tried.
        """
        return self._reader.repairs

    def template_of(self, signature: type[dspy.Signature]) -> Template:
        """Read the template of a signature, repairing its instructions where they are none."""
        return self._reader.read(signature.instructions)

    def forward(self, **kwargs: Any) -> dspy.Prediction:
        """Classify one image: a path, a PIL image or a `dspy.Image`.

        Returns:
            `scores`, the `top_k` most probable classes with their probabilities, and the class
            name under the name of the signature's last output.
        """
        signature = ensure_signature(kwargs.pop("signature", None) or self.signature)
        demos = kwargs.pop("demos", None)
        record = kwargs.pop("_trace", True)
        for name in ("config", "lm"):
            kwargs.pop(name, None)
        field = image_field(signature)
        if field not in kwargs:
            raise ArgumentError(
                f"{type(self).__name__} expects {field}=..., a path, a PIL image or a dspy.Image."
            )
        [prediction] = self.predict_batch([kwargs[field]], signature=signature, demos=demos)
        trace = dspy.settings.trace
        if record and trace is not None and dspy.settings.max_trace_size > 0:
            if len(trace) >= dspy.settings.max_trace_size:
                trace.pop(0)
            trace.append((self, dict(kwargs), prediction))
        return prediction

    async def aforward(self, **kwargs: Any) -> dspy.Prediction:
        """Classify one image; the work is done in the calling thread."""
        return type(self).forward(self, **kwargs)

    def predict_batch(
        self,
        images: Sequence[object],
        signature: type[dspy.Signature] | None = None,
        demos: Sequence[Mapping[str, Any] | dspy.Example] | None = None,
    ) -> list[dspy.Prediction]:
        """Classify many images in one go; leaves no trace.

        Args:
            images: paths, PIL images or `dspy.Image`s.
            signature: its instructions are the template; None takes the predictor's own.
            demos: what the cache holds, if there is one; None takes the predictor's own.
        """
        import torch

        if not images:
            return []
        check_several(self.classnames)
        signature = signature or self.signature
        template = self.template_of(signature)
        # Whoever wants a graph asks the prompt.
        with torch.inference_mode():
            features = self.prompt(template).image_features(self.embedder, images)
            logits = self.logits(features, template)
            if self.demo_cache is not None:
                logits = logits + self._demo_logits(features, signature, demos)
            return self.predictions(logits, label_field(signature))

    def logits(
        self, image_features: Annotated[Tensor, Dimensions(2)], template: Template
    ) -> Tensor:
        """Compare [N, D] image features with the template's classes: [N, C]."""
        return self.prompt(template).logits(self.embedder, image_features, self.classnames)

    def prompt(self, template: Template | None = None) -> Prompt:
        """What classifies with a template: the template, or what was learned with it beside.

        Args:
            template: None takes the template in use.
        """
        template = template or self.template
        if self.learned is not None:
            return self.learned.around(template)
        return TextPrompt(template, self.class_texts)

    def use_learned(self, prompt: LearnedPrompt) -> None:
        """Classify with what an optimizer learned; the template becomes the words beside it."""
        self.signature = self.signature.with_instructions(prompt.text.text)
        self.learned = prompt

    def use_classnames(self, classnames: Sequence[str]) -> None:
        """Classify among other classes.

        Raises:
            ArgumentError: there are no class names, one is empty, or one comes twice.
        """
        self.classnames = checked_classnames(classnames)
        self._reader = TemplateReader(self.embedder, self.classnames)

    def _demo_logits(
        self,
        image_features: Tensor,
        signature: type[dspy.Signature],
        demos: Sequence[Mapping[str, Any]] | None,
    ) -> Tensor | float:
        given = self.demos if demos is None else demos
        image, label = image_field(signature), label_field(signature)
        usable = LabelledDemos.of(given, image, label, self.classnames)
        if self.demo_cache is None or not usable.images:
            return 0.0
        import torch

        prompt = self.prompt(self.template_of(signature))
        demo_features = prompt.image_features(self.embedder, usable.images)
        one_hot = torch.eye(len(self.classnames))[list(usable.classes)]
        return self.demo_cache.logits(image_features, demo_features, one_hot)

    def predictions(
        self, logits: Annotated[Tensor, Dimensions(2)], label: str = "label"
    ) -> list[dspy.Prediction]:
        """Turn [N, C] logits into N predictions, the class name under `label`."""
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
            # `dspy.majority` votes on the last key.
            prediction = dspy.Prediction({"scores": scores, label: self.classnames[index]})
            prediction._probabilities = Probabilities(self.classnames, row, label)
            result.append(prediction)
        return result

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Optimizers may set a language model, which is never called: copies share it.
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        new.__setstate__(deepcopy(self.__getstate__(), memo))
        new.lm = self.lm
        return new

    def __getstate__(self) -> dict[str, Any]:
        # What is pickled holds no language model, and so no key.
        return {**super().__getstate__(), "lm": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # InferRules writes into the signature class in place: every copy needs a class of its own.
        super().__setstate__(state)
        self.signature = self.signature.with_instructions(self.signature.instructions)

    def __run_identity__(self) -> dict[str, object]:
        """What decides a prediction; demos do where the cache makes them count."""
        # Runs that were begun before there were texts for single classes go on.
        without = {"_reader"} | ({"class_texts"} if not self.class_texts else set())
        inputs, label = list(self.signature.input_fields), label_field(self.signature)
        known = {"lm", "history", "callbacks", "stage", "traces", "train", "demos", "signature"}
        own = {n: v for n, v in vars(self).items() if n not in known | without}
        return {
            **own,
            "class": type(self),
            "fields": [*inputs, label],
            "instructions": self.signature.instructions,
            "demos": None if self.demo_cache is None else list(self.demos),
        }

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Give what `load_state` needs: template, class names and encoder spec; no weights.

        What an optimizer learned comes along as text. Demos come along where the cache makes them
        count: files by their path, other images whole.
        """
        cache = self.demo_cache
        image, label = image_field(self.signature), label_field(self.signature)
        return {
            "traces": [],
            "train": [],
            "demos": [] if cache is None else saved_demos(self.demos, image, label),
            "lm": None,
            "signature": self.signature.dump_state(),
            "clip": {
                "encoder": self.embedder.encoder.spec,
                # MLflow logs each entry of a list as a parameter of its own.
                "classnames": tuple(self.classnames),
                "top_k": self.top_k,
                "demo_cache": cache and {"weight": cache.weight, "sharpness": cache.sharpness},
                **({"class_texts": self._own_texts()} if self.class_texts else {}),
                **self._learned_state(),
            },
        }

    def _own_texts(self) -> dict[str, list[str]]:
        return {name: list(self.class_texts[name]) for name in self.class_texts}

    def _learned_state(self) -> dict[str, Any]:
        if self.learned is None:
            return {}
        tensors = tensors_as_text(self.learned.tensors)
        return {"learned": {**self.learned.dump_state(), "tensors": tensors}}

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> Self:
        """Take over a saved template, its class names, its encoder, its demos, what was learned.

        Raises:
            ArgumentError: the state was not saved by a `CLIPPredict`, or its tensors are damaged.
        """
        saved = read_predictor(state)
        clip, fields = saved.clip, self.signature.fields
        if len(saved.signature.fields) != len(fields):
            raise ArgumentError(
                f"The state has {len(saved.signature.fields)} fields, and the signature "
                f"{', '.join(fields)}; load it into a predictor of the same signature."
            )
        # All of it is made before any of it is taken over.
        classnames, cache = saved_classnames(clip.classnames), clip.demo_cache
        demo_cache = None if cache is None else TipAdapter(cache.weight, cache.sharpness)
        demos = loaded_demos(saved.demos, image_field(self.signature))
        same = clip.encoder == self.embedder.encoder.spec
        embedder = self.embedder if same else _embedder(local_encoder(clip.encoder))
        class_texts = checked_class_texts(clip.class_texts or {})
        learned = clip.learned and load_learned(
            clip.learned.model_dump(), tensors_of(clip.learned.tensors)
        )
        # Of what else the state holds nothing is taken, least of all a language model.
        signature = saved.signature.model_dump(mode="json")
        super().load_state(
            {"traces": [], "train": [], "demos": [], "lm": None, "signature": signature}
        )
        self.demos, self.demo_cache, self.top_k = demos, demo_cache, clip.top_k
        self.classnames, self.embedder, self.learned = classnames, embedder, learned or None
        self.class_texts = class_texts
        self._reader = TemplateReader(self.embedder, self.classnames)
        return self


def local_encoder(spec: str) -> Encoder:
    """Load an encoder that a file names: from this machine, for a file fetches nothing.

    Raises:
        ArgumentError: it names none.
        EncoderError: it is not on this machine, or does not load.
    """
    from ipo_dspy.encoders import load_encoder

    try:
        return load_encoder(spec, fetch=False)
    except EncoderError as error:
        raise EncoderError(
            f"{error}. A saved program fetches nothing on its own: where the weights are to be "
            "fetched, pass clip=load_encoder(spec)."
        ) from error


def zero_shot_predictors(program: dspy.Module) -> dict[str, ZeroShotPredict]:
    """Find the predictors of a program whose instructions are templates, by name."""
    return {n: p for n, p in program.named_predictors() if isinstance(p, ZeroShotPredict)}


def image_field(signature: type[dspy.Signature]) -> str:
    """Name the input that is the image.

    Raises:
        ArgumentError: no input or several could be it.
    """
    inputs = signature.input_fields
    typed = [name for name, field in inputs.items() if _holds_image(field.annotation)]
    for names in (typed, [name for name in inputs if name == "image"], list(inputs)):
        if len(names) == 1:
            return names[0]
    raise ArgumentError(
        f"Which of the inputs {', '.join(inputs) or '(none)'} is the image? Annotate one, and only "
        "one, with dspy.Image."
    )


def label_field(signature: type[dspy.Signature]) -> str:
    """Name the output that is the class name: the last one.

    Raises:
        ArgumentError: there is no output.
    """
    if not signature.output_fields:
        raise ArgumentError("The signature has no output; expected one for the class name.")
    return list(signature.output_fields)[-1]


def _holds_image(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, dspy.Image)


_ENCODER_MEMBERS = (
    "spec",
    "context_length",
    "encode_images",
    "encode_texts",
    "count_tokens",
    "logits",
)


def _embedder(clip: str | Encoder | Embedder) -> Embedder:
    if isinstance(clip, Embedder):
        return clip
    if isinstance(clip, str):
        from ipo_dspy.encoders import load_encoder

        clip = load_encoder(clip)
    if lacking := [name for name in _ENCODER_MEMBERS if not hasattr(clip, name)]:
        raise ArgumentError(
            f"Expected an encoder or its spec, got a {type(clip).__name__} without "
            f"{', '.join(lacking)}; ipo_dspy.Encoder lists what an encoder has."
        )
    return Embedder(clip)
