"""What text and vision models of transformers share as engines."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from dspy.lm15 import ImagePart, Request, Response, UnsupportedModelError

from ipo_dspy.local_models.batching import Batcher
from ipo_dspy.proposing.engine import LocalEngine, Turn, answer, texts, turns
from ipo_dspy.proposing.reading import Asked
from ipo_dspy.proposing.seeds import Seeds

if TYPE_CHECKING:
    import torch
    from PIL import Image

    from ipo_dspy.local_models.generation import Generated, Sampling

COMPLETED = "[[ ## completed ## ]]"
"""What DSPy's ChatAdapter asks for at the end of an answer."""

QUESTION, ANSWER = "Question: ", "\nAnswer:"
"""What stands around a question to a model that has no chat template."""


@dataclass(frozen=True)
class Loaded:
    """A model, what prepares its inputs, and its tokenizer."""

    model: Any
    processor: Any
    tokenizer: Any

    @property
    def has_chat_template(self) -> bool:
        """Whether it was trained on conversations and says how they are written."""
        return getattr(self.processor, "chat_template", None) is not None


@dataclass(frozen=True)
class Row:
    """One conversation of a batch, its images in order, and how its answer is made."""

    conversation: list[Turn]
    asked: Asked
    images: Sequence[Image.Image]
    sampling: Sampling


class PretrainedEngine(LocalEngine):
    """A model of transformers that answers in this process.

    The model is loaded at the first request. Requests that come at the same time are answered as
    one batch, in which each row draws random numbers of its own, made of its request and seed. A
    reply without the format that DSPy asked for becomes the value of the one output field.

    Args:
        model: a name on the hub or a folder.
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
        tokenizer: str | Path | None = None,
        device: str | None = None,
        dtype: str | None = None,
        max_batch: int = 8,
        max_tokens: int = 512,
        trust_remote_code: bool = False,
    ) -> None:
        self.model = str(model)
        self.tokenizer = str(tokenizer or model)
        self.device = device
        self.dtype = dtype
        self.max_batch = max_batch
        self.max_tokens = max_tokens
        self.trust_remote_code = trust_remote_code
        self._seeds = Seeds()
        self._batcher: Batcher[Row, Generated] = Batcher(self._generate, max_batch)
        self._lock = threading.Lock()
        self._loaded: Loaded | None = None

    def complete(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            UnsupportedModelError: the model cannot be loaded; the message says why.
            ContextLengthError: the request is longer than the model's context.
            ArgumentError: the request holds what the model cannot read.
        """
        from ipo_dspy.images.image import open_image

        conversation = turns(request)
        said = texts(conversation, "user")
        asked = Asked.read("\n".join(texts(conversation, "system")), said[-1] if said else "")
        sampling = self._sampling(request, conversation, asked)
        images = [open_image(_source(part)) for part in image_parts(conversation)]
        made = self._batcher.submit(Row(conversation, asked, images, sampling))
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
        return {
            "model": self.model,
            "tokenizer": self.tokenizer,
            "device": self.device,
            "dtype": self.dtype,
            "max_batch": self.max_batch,
            "max_tokens": self.max_tokens,
        }

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """Make the engine that `dump_state` described; it runs no remote code."""
        return cls(**state)

    @abstractmethod
    def load(self, options: Mapping[str, Any], dtype: torch.dtype) -> Loaded:
        """Load model and tokenizer with these options of `from_pretrained`."""

    @abstractmethod
    def room(self, conversation: list[Turn], asked: Asked) -> int | None:
        """How many tokens an answer may have; None where nothing bounds it.

        Raises:
            ArgumentError: the conversation has what the model cannot read.
            ContextLengthError: there is no room.
        """

    @abstractmethod
    def inputs(self, rows: Sequence[Row]) -> Mapping[str, Any]:
        """Prepare a batch, padded on the left: `input_ids` [N, L], `attention_mask` [N, L], ..."""

    def _load(self) -> Loaded:
        import torch
        from safetensors import SafetensorError

        from ipo_dspy.encoders.device import choose_device, choose_precision
        from ipo_dspy.encoders.offline import cached_first

        device = choose_device(self.device)
        dtype = getattr(torch, choose_precision(self.dtype, device))
        try:
            loaded = cached_first(
                lambda: self.load({"trust_remote_code": self.trust_remote_code}, dtype)
            )
        except (ImportError, OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise UnsupportedModelError(self._cannot_load(error)) from error
        loaded.model.to(device).eval()
        return loaded

    def _cannot_load(self, error: Exception) -> str:
        reason = " ".join(str(error).split())
        if "trust_remote_code" in reason:
            return (
                f"{self.model!r} comes with model code of its own; pass trust_remote_code=True if "
                "you trust its author, for the code can do anything on this machine."
            )
        sentence = reason.partition(". ")[0].rstrip(".")
        return (
            f"{self.model!r} cannot be loaded: {sentence}. Check the name and the network, or give "
            "the folder of a model that was saved with save_pretrained."
        )

    def _sampling(self, request: Request, conversation: list[Turn], asked: Asked) -> Sampling:
        from transformers import GenerationConfig

        from ipo_dspy.local_models.generation import Sampling

        wanted = request.config
        own = getattr(self.loaded.model, "generation_config", None) or GenerationConfig()
        room = self.room(conversation, asked)
        most = wanted.max_tokens or self.max_tokens
        samples = bool(own.do_sample)
        default = (own.temperature or 1.0) if samples else 0.0
        stops = [*wanted.stop, *([COMPLETED] if COMPLETED in asked.text else [])]
        if not self.loaded.has_chat_template:
            stops.append("\n" + QUESTION)
        return Sampling(
            seed=self._seeds.number(request, conversation),
            temperature=default if wanted.temperature is None else wanted.temperature,
            top_p=_first(wanted.top_p, own.top_p if samples else None, 1.0),
            top_k=_first(wanted.top_k, own.top_k if samples else None, 0),
            max_tokens=most if room is None else min(most, room),
            stops=tuple(stops),
        )

    def generate(self, rows: Sequence[Row]) -> list[Generated]:
        """Answer a batch."""
        from ipo_dspy.local_models.generation import generate

        loaded = self.loaded
        inputs = {name: _moved(value, loaded.model) for name, value in self.inputs(rows).items()}
        return generate(loaded.model, inputs, loaded.tokenizer, [row.sampling for row in rows])

    def _generate(self, rows: Sequence[Row]) -> list[Generated]:
        """Answer a batch, in halves where memory runs out."""
        import torch

        try:
            return self.generate(rows)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
        half = len(rows) // 2
        self._batcher.most = half
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return [*self._generate(rows[:half]), *self._generate(rows[half:])]


def _moved(value: Any, model: Any) -> Any:
    """Move input tensors to the model's device, those of images to its precision too."""
    import torch

    if isinstance(value, list):
        return [_moved(item, model) for item in value]
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(model.device, model.dtype if value.is_floating_point() else None)


def image_parts(conversation: list[Turn]) -> list[ImagePart]:
    """The images of a conversation in order."""
    return [part for _, content in conversation for part in content if isinstance(part, ImagePart)]


def _source(part: ImagePart) -> str:
    if part.data is not None:
        return f"data:{part.media_type};base64,{part.data}"
    return str(part.path or part.url)


def plain_prompt(asked: Asked) -> str:
    """Write a request for a model without chat template."""
    return f"{QUESTION}{asked.plain}{ANSWER}"


def render_chat(
    conversation: Sequence[Mapping[str, Any]], apply: Callable[[list[Mapping[str, Any]]], str]
) -> str:
    """Apply a chat template; where it knows no system role, that text goes before the user's.

    Args:
        conversation: messages with `role` and `content`.
        apply: renders them, ending where the answer begins.
    """
    from jinja2 import TemplateError

    try:
        return apply(list(conversation))
    except TemplateError:
        return apply(_without_system(conversation))


def _without_system(conversation: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    merged: list[Mapping[str, Any]] = []
    before: Any = None
    for message in conversation:
        if message["role"] == "system":
            before = message["content"]
            continue
        if before is not None:
            message = {"role": message["role"], "content": _joined(before, message["content"])}
            before = None
        merged.append(message)
    return merged


def _joined(first: Any, second: Any) -> Any:
    return f"{first}\n\n{second}" if isinstance(first, str) else [*first, *second]


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
