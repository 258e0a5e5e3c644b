"""Models of transformers in this process: `hf:microsoft/phi-2`, vision models and their like."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dspy.lm15 import ContextLengthError, ImagePart, Request, Response, UnsupportedModelError

from ipo_dspy.errors import ArgumentError
from ipo_dspy.images.image import open_image
from ipo_dspy.local_models.batching import Batcher
from ipo_dspy.proposing.engine import LocalEngine, Turn, answer, texts, turns
from ipo_dspy.proposing.reading import Asked
from ipo_dspy.proposing.seeds import Seeds
from ipo_dspy.upstream.dspy_parts import COMPLETED

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ipo_dspy.local_models.generation import Generated, Sampling


_QUESTION, _ANSWER = "Question: ", "\nAnswer:"
"""What stands around a question to a model that has no chat template."""

_PLACE_IMAGES_THEMSELVES = frozenset({"blip-2", "fuyu", "instructblip"})
"""Model types whose processor puts the image in front of the text; elsewhere a token marks it."""


@dataclass(frozen=True)
class Loaded:
    """A model, what prepares its inputs (None where its own code does), and its tokenizer."""

    model: Any
    processor: Any
    tokenizer: Any

    @property
    def has_chat_template(self) -> bool:
        """Whether it was trained on conversations and says how they are written."""
        return getattr(self.processor, "chat_template", None) is not None


@dataclass(frozen=True)
class Row:
    """One conversation of a batch.

    Attributes:
        conversation: messages as chat templates take them, with the images in their places.
        question: the same without DSPy's format, for models that know no conversations.
        images: all of them in order.
        seed: what the answer's random numbers start from.
    """

    conversation: Sequence[Mapping[str, Any]]
    question: str
    images: Sequence[Image.Image]
    seed: int


class PretrainedEngine(LocalEngine):
    """A model of transformers that answers in this process.

    The model is loaded at the first request. Requests that come at the same time are answered as
    one batch, in which each row draws random numbers of its own, made of its request and seed. A
    model without a chat template gets the plain question without DSPy's format. A reply without
    the format that DSPy asked for becomes the value of the one output field.

    Args:
        model: a name on the hub or a folder.
        revision: branch, tag or commit on the hub; None takes the newest.
        tokenizer: name or folder of the tokenizer or processor, where it is not with the model.
        device: `cuda`, `mps`, `cpu` or as torch spells it; by default the best there is.
        dtype: `float32`, `bfloat16` or `float16`, of weights and computation; by default bfloat16
            on CUDA and float32 elsewhere.
        max_batch: most requests that are answered together; halves when memory runs out.
        max_tokens: most tokens of an answer, where the request does not say.
        trust_remote_code: run model code that comes with the weights; a risk, off by default.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        revision: str | None = None,
        tokenizer: str | Path | None = None,
        device: str | None = None,
        dtype: str | None = None,
        max_batch: int = 8,
        max_tokens: int = 512,
        trust_remote_code: bool = False,
    ) -> None:
        self.model = str(model)
        self.revision = revision
        self.tokenizer = str(tokenizer or model)
        self.device = device
        self.dtype = dtype
        self.max_batch = max_batch
        self.max_tokens = max_tokens
        self.trust_remote_code = trust_remote_code
        self._seeds = Seeds()
        self._batcher: Batcher[tuple[Sampling, Row], Generated] = Batcher(
            self._answer_batch, max_batch, kind=lambda item: item[0]
        )
        # Held while loading, and by whoever uses the tokenizer, which no two threads may at once.
        self._lock = threading.RLock()
        self._loaded: Loaded | None = None

    def complete(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            UnsupportedModelError: the model cannot be loaded; the message says why.
            ContextLengthError: the request is longer than the model's context.
            ArgumentError: the request holds what the model cannot read.
        """
        conversation = turns(request)
        said = texts(conversation, "user")
        asked = Asked.read("\n".join(texts(conversation, "system")), said[-1] if said else "")
        row = self._row(conversation, asked.plain, self._seeds.number(request, conversation))
        sampling = self._sampling(request, row, ends_completed=COMPLETED in asked.text)
        made = self._batcher.submit((sampling, row))
        return answer(
            request,
            asked.in_format(made.text),
            input_tokens=made.input_tokens,
            output_tokens=made.tokens,
            cut_off=made.cut_off,
        )

    @property
    def loaded(self) -> Loaded:
        """The model, loaded when it is first used."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def close(self) -> None:
        """Let go of the model; the next request loads it again."""
        with self._lock:
            self._loaded = None

    def dump_state(self) -> dict[str, Any]:
        """Give the arguments that make the same engine, save leave to run remote code."""
        names = ("model", "revision", "tokenizer", "device", "dtype", "max_batch", "max_tokens")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """Make the engine that `dump_state` described; it runs no remote code."""
        return cls(**state)

    @abstractmethod
    def load(self, options: Mapping[str, Any], dtype: torch.dtype) -> Loaded:
        """Load model and processor with these options of `from_pretrained`."""

    def inputs(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Prepare a batch, padded on the left: `input_ids` [N, L], `attention_mask` [N, L], ..."""
        processor = self.loaded.processor
        batch: dict[str, Any] = {"padding": True, "return_tensors": "pt"}
        with self._lock:
            if self.loaded.has_chat_template:
                return dict(_rendered(processor, [row.conversation for row in rows], batch))
            if images := [image for row in rows for image in row.images]:
                batch["images"] = images
            return dict(processor(text=[self._plain(row) for row in rows], **batch))

    def generate(self, rows: Sequence[Row], sampling: Sampling) -> list[Generated]:
        """Answer a batch."""
        from ipo_dspy.local_models.generation import generate

        loaded = self.loaded
        inputs = {name: _moved(value, loaded.model) for name, value in self.inputs(rows).items()}
        return generate(
            loaded.model, inputs, loaded.tokenizer, sampling, [row.seed for row in rows]
        )

    def _answer_batch(self, items: Sequence[tuple[Sampling, Row]]) -> list[Generated]:
        """Answer requests of equal settings, in halves where memory runs out."""
        import torch

        try:
            return self.generate([row for _, row in items], items[0][0])
        except torch.OutOfMemoryError:
            if len(items) == 1:
                raise
        half = len(items) // 2
        self._batcher.most = half
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return [*self._answer_batch(items[:half]), *self._answer_batch(items[half:])]

    def _row(self, conversation: Sequence[Turn], question: str, seed: int) -> Row:
        contents = [[_content(part) for part in parts] for _, parts in conversation]
        images = [part["image"] for content in contents for part in content if "image" in part]
        messages = [
            {"role": role, "content": content}
            for (role, _), content in zip(conversation, contents, strict=True)
        ]
        return Row(messages, question, images, seed)

    def _plain(self, row: Row) -> str:
        """Write a request for a model without chat template."""
        question = f"{_QUESTION}{row.question}{_ANSWER}"
        if not row.images or self.loaded.model.config.model_type in _PLACE_IMAGES_THEMSELVES:
            return question
        return f"{self.loaded.processor.image_token}\n" * len(row.images) + question

    def _sampling(self, request: Request, row: Row, *, ends_completed: bool) -> Sampling:
        from transformers import GenerationConfig

        from ipo_dspy.local_models.generation import Sampling

        wanted = request.config
        own = getattr(self.loaded.model, "generation_config", None) or GenerationConfig()
        if not own.do_sample:
            own = GenerationConfig(temperature=0.0)
        room = self._room(row)
        most = wanted.max_tokens or self.max_tokens
        stops = [*wanted.stop, *([COMPLETED] if ends_completed else [])]
        if not self.loaded.has_chat_template:
            stops.append("\n" + _QUESTION)
        return Sampling(
            temperature=_first(wanted.temperature, own.temperature, 1.0),
            top_p=_first(wanted.top_p, own.top_p, 1.0),
            top_k=_first(wanted.top_k, own.top_k, 0),
            max_tokens=most if room is None else min(most, room),
            stops=tuple(stops),
        )

    def _room(self, row: Row) -> int | None:
        """How many tokens an answer may have; None where nothing bounds it.

        Images take as many tokens as the processor decides, and are not counted beforehand.
        """
        config = self.loaded.model.config
        most = getattr(config.get_text_config(), "max_position_embeddings", None)
        if row.images or most is None:
            return None
        length = self.inputs([row])["input_ids"].shape[1]
        if length >= most:
            raise ContextLengthError(
                f"the request has {length} tokens and {self.model!r} takes {most} with the answer; "
                "show fewer descriptions or a shorter history"
            )
        return int(most - length)

    def _load(self) -> Loaded:
        import torch

        from ipo_dspy.encoders.device import choose_device, choose_precision
        from ipo_dspy.encoders.offline import cached_first
        from ipo_dspy.upstream.transformers_parts import remote_code

        device = choose_device(self.device)
        dtype = getattr(torch, choose_precision(self.dtype, device))
        options = {"trust_remote_code": self.trust_remote_code, "revision": self.revision or "main"}
        try:
            with remote_code(trusted=self.trust_remote_code):
                loaded = cached_first(lambda: self.load(options, dtype))
            loaded.model.to(device).eval()
            loaded.tokenizer.padding_side = "left"
            if loaded.tokenizer.pad_token is None:
                loaded.tokenizer.pad_token = loaded.tokenizer.eos_token
        # A damaged or hostile folder makes the library raise anything.
        except Exception as error:
            raise UnsupportedModelError(self._cannot_load(error)) from error
        return loaded

    def _cannot_load(self, error: Exception) -> str:
        from ipo_dspy.encoders.offline import TRUST_ADVICE
        from ipo_dspy.upstream.transformers_parts import asks_for_code

        if asks_for_code(error):
            return f"{self.model!r} brings code, which does not run; {TRUST_ADVICE}."
        reason = " ".join(str(error).split())
        sentence = reason.partition(". ")[0].rstrip(".")
        return (
            f"{self.model!r} cannot be loaded: {sentence}. Check the name and the network, or give "
            "the folder of a model that was saved with save_pretrained."
        )


class TransformersEngine(PretrainedEngine):
    """A causal language model: `dspy.LM("hf/phi-2", engine=TransformersEngine("microsoft/phi-2"))`.

    Arguments are those of `PretrainedEngine`.
    """

    def load(self, options: Mapping[str, Any], dtype: torch.dtype) -> Loaded:
        """Load model and tokenizer; weights from safetensors alone."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.tokenizer, **options)
        model = AutoModelForCausalLM.from_pretrained(
            self.model, dtype=dtype, use_safetensors=True, **options
        )
        return Loaded(model, tokenizer, tokenizer)

    def inputs(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Tokenize a batch: `input_ids` [N, L] and `attention_mask` [N, L]."""
        encoded = super().inputs(rows)
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}

    def _row(self, conversation: Sequence[Turn], question: str, seed: int) -> Row:
        if any(isinstance(part, ImagePart) for _, parts in conversation for part in parts):
            raise ArgumentError(f"{self.model!r} reads text alone, and the request has an image.")
        messages = [
            {"role": role, "content": "".join(map(str, parts))} for role, parts in conversation
        ]
        return Row(messages, question, (), seed)


class VisionEngine(PretrainedEngine):
    """A vision-language model: `dspy.LM("hf/x", engine=VisionEngine("Qwen/Qwen3-VL-4B-Instruct"))`.

    Takes every model of transformers' `AutoModelForImageTextToText`. With `trust_remote_code`,
    models whose own code answers through a `chat` method, as MiniCPM-V-2's does, are asked one
    request at a time. Arguments are those of `PretrainedEngine`.
    """

    def load(self, options: Mapping[str, Any], dtype: torch.dtype) -> Loaded:
        """Load model and processor; weights from safetensors alone."""
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        config = AutoConfig.from_pretrained(self.model, **options)
        if not _is_known(config):
            from ipo_dspy.local_models.own_chat import load_own_chat

            return load_own_chat(self.model, self.tokenizer, options, dtype)
        processor = AutoProcessor.from_pretrained(self.tokenizer, **options)
        model = AutoModelForImageTextToText.from_pretrained(
            self.model, dtype=dtype, use_safetensors=True, **options
        )
        return Loaded(model, processor, processor.tokenizer)

    def generate(self, rows: Sequence[Row], sampling: Sampling) -> list[Generated]:
        """Answer a batch, through the model's own `chat` where it has one."""
        if self.loaded.processor is not None:
            return super().generate(rows, sampling)
        from ipo_dspy.local_models.own_chat import own_answer

        return [own_answer(self.loaded, row, sampling) for row in rows]


def _is_known(config: Any) -> bool:
    """Whether the auto class loads it, by transformers' own list or by the model's."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    own_classes = getattr(config, "auto_map", None) or {}
    return (
        config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        or "AutoModelForImageTextToText" in own_classes
    )


def _content(part: str | ImagePart) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    source = part.path or part.url
    if part.data is not None:
        source = f"data:{part.media_type};base64,{part.data}"
    return {"type": "image", "image": open_image(str(source))}


def _rendered(processor: Any, conversations: Sequence[Any], batch: Mapping[str, Any]) -> Any:
    """Apply a chat template; where it knows no system role, that text goes before the user's."""
    from jinja2 import TemplateError

    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": True, **batch}
    try:
        return processor.apply_chat_template(conversations, **options)
    except TemplateError:
        merged = [_without_system(conversation) for conversation in conversations]
        return processor.apply_chat_template(merged, **options)


def _without_system(conversation: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    first, *rest = conversation
    if first["role"] != "system" or not rest:
        return conversation
    gap = "\n\n" if isinstance(first["content"], str) else []
    return [{**rest[0], "content": first["content"] + gap + rest[0]["content"]}, *rest[1:]]


def _moved(value: Any, model: Any) -> Any:
    """Move input tensors to the model's device, those of images to its precision too."""
    import torch

    if isinstance(value, list):
        return [_moved(item, model) for item in value]
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(model.device, model.dtype if value.is_floating_point() else None)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
