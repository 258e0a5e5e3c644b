"""From what one types to a language model, and what became of the models of IPO's poster."""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import dspy
from dspy.utils.exceptions import DSPyError

from ipo_dspy.demo.proposer.offline import offline_lm
from ipo_dspy.errors import ArgumentError
from ipo_dspy.local_models.pretrained import PretrainedEngine
from ipo_dspy.local_models.transformers import TransformersEngine
from ipo_dspy.local_models.vision import VisionEngine
from ipo_dspy.proposing.faults import check_address

_logger = logging.getLogger(__name__)
_OFFLINE = "offline"
_HUB = "hf:"


@dataclass(frozen=True)
class Preset:
    """A model of the poster.

    Attributes:
        name: as the poster writes it.
        role: what it did there: propose prompts or describe images.
        original: its name with its provider or on the Hugging Face hub.
        use: what to pass to `language_model` or `vision_model`, or on the command line, today.
        status: what became of it, and why `use` is another model where it is.
        is_served: whether the original can still be had.
    """

    name: str
    role: Literal["prompt", "image"]
    original: str
    use: str
    status: str
    is_served: bool = True


PRESETS: tuple[Preset, ...] = (
    Preset(
        name="GPT-3.5-turbo",
        role="prompt",
        original="openai/gpt-3.5-turbo",
        use="openai/gpt-5.6-terra",
        status="Shut down by OpenAI on 23 October 2026; OpenAI names gpt-5.6-terra in its place.",
        is_served=False,
    ),
    Preset(
        name="Phi-2 2.7B",
        role="prompt",
        original="microsoft/phi-2",
        use="hf:microsoft/phi-2",
        status="Open weights. Its context of 2048 tokens holds few descriptions.",
    ),
    Preset(
        name="Phi-3 7B",
        role="prompt",
        original="microsoft/Phi-3-small-8k-instruct",
        use="hf:microsoft/Phi-3-mini-4k-instruct",
        status="Open weights, but only with code of their own that needs flash-attn; the smaller "
        "3.8B model of the same family loads without.",
    ),
    Preset(
        name="PaLM 2-L",
        role="prompt",
        original="vertex_ai/text-unicorn@001",
        use="gemini/gemini-3.5-flash",
        status="Shut down by Google on 9 April 2025; the Gemini models replace it.",
        is_served=False,
    ),
    Preset(
        name="PaLM 2-L-IT",
        role="prompt",
        original="vertex_ai/text-bison@002",
        use="gemini/gemini-3.5-flash",
        status="Shut down by Google on 9 April 2025; the Gemini models replace it. Of PaLM 2 tuned "
        "to follow instructions, Google only ever served this smaller size by name.",
        is_served=False,
    ),
    Preset(
        name="FUYU-8B",
        role="image",
        original="adept/fuyu-8b",
        use="hf:adept/fuyu-8b",
        status="Open weights; a base model without a chat template.",
    ),
    Preset(
        name="BLIP-2",
        role="image",
        original="Salesforce/blip2-opt-2.7b",
        use="hf:Salesforce/blip2-opt-2.7b",
        status="Open weights; the poster does not say which language model is inside.",
    ),
    Preset(
        name="Qwen-VL-Chat 9.6B",
        role="image",
        original="Qwen/Qwen-VL-Chat",
        use="hf:Qwen/Qwen3-VL-8B-Instruct",
        status="Open weights, but only with code of their own for old versions of transformers; "
        "its successors are part of transformers.",
    ),
    Preset(
        name="LLaVA-Llama-3-8B",
        role="image",
        original="llava-hf/llama3-llava-next-8b-hf",
        use="hf:llava-hf/llama3-llava-next-8b-hf",
        status="Open weights; the poster does not say which LLaVA with Llama 3 it was.",
    ),
    Preset(
        name="MiniCPM-V-2 2.8B",
        role="image",
        original="openbmb/MiniCPM-V-2",
        use="hf:openbmb/MiniCPM-V-4.6",
        status="Open weights with code of their own, run through its `chat` where "
        "trust_remote_code is given; MiniCPM-V-4.6 is part of transformers.",
    ),
)
"""The language models and the vision models that the poster compares, in its order."""


@dataclass(frozen=True)
class Connection:
    """How models are reached over the network; models in this process have none.

    Raises:
        ArgumentError: `api_base` is no address of a server.

    Attributes:
        timeout: seconds to wait for one answer.
        num_retries: how often DSPy asks again after a timeout, a rate limit or a server's fault.
        api_base: address of the server; None takes the provider's own.
    """

    timeout: float = 45.0
    num_retries: int = 2
    api_base: str | None = None

    def __post_init__(self) -> None:
        check_address(self.api_base or None)


def language_model(
    spec: str, *, trust_remote_code: bool = False, connection: Connection = Connection()
) -> dspy.LM:
    """Make the LM that proposes prompts.

    Args:
        spec: `offline`; `hf:NAME` with a hub name or a folder, run in this process; or any model
            that `dspy.LM` knows, such as `anthropic/...` or `ollama_chat/...`.
        trust_remote_code: run model code that comes with the weights.
        connection: how the model is reached over the network.

    Raises:
        ArgumentError: the spec names no model.
    """
    if spec == _OFFLINE:
        return offline_lm()
    return _lm(spec, TransformersEngine, trust_remote_code, connection)


def vision_model(
    spec: str, *, trust_remote_code: bool = False, connection: Connection = Connection()
) -> dspy.LM:
    """Make the LM that describes images; see `language_model`.

    Raises:
        ArgumentError: the spec names no model, or one that sees no images.
    """
    if spec == _OFFLINE:
        raise ArgumentError(
            "the offline proposer sees no images; leave out the image model, and the encoder "
            "describes the images with a vocabulary"
        )
    return _lm(spec, VisionEngine, trust_remote_code, connection)


def _lm(
    spec: str, engine: type[PretrainedEngine], trust_remote_code: bool, connection: Connection
) -> dspy.LM:
    _warn_if_gone(spec)
    if not spec.startswith(_HUB):
        if "/" not in spec:
            near = get_close_matches(spec, (_OFFLINE, "vocabulary", "none"), n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ArgumentError(
                f"{spec!r} names no model; {hint}write 'offline', 'hf:NAME', or PROVIDER/MODEL "
                "such as 'openai/gpt-4o-mini'"
            )
        try:
            return dspy.LM(spec, **_settings(spec, connection))
        except (ValueError, DSPyError) as error:
            raise ArgumentError(f"DSPy cannot use the model {spec!r}: {error}") from error
    name = spec.removeprefix(_HUB)
    if not name:
        raise ArgumentError("'hf:' names no model; write 'hf:' and a hub name or a folder")
    folder = Path(name).expanduser()
    is_folder = folder.is_dir()
    model = str(folder.resolve()) if is_folder else name
    # What is in a folder may change under its name, so that old answers would be wrong.
    return dspy.LM(
        f"hf/{model}",
        engine=engine(model, trust_remote_code=trust_remote_code),
        cache=not is_folder,
    )


def _settings(spec: str, connection: Connection) -> dict[str, Any]:
    # An empty address would still count as one and decide how DSPy reaches the provider.
    settings = {name: value for name, value in asdict(connection).items() if value is not None}
    if connection.api_base is not None:
        # DSPy's cache does not tell servers apart, and would give one the answers of another.
        settings["cache"] = False
        if spec.startswith("openai/") and not os.environ.get("OPENAI_API_KEY"):
            # A server of one's own mostly asks for no key, but DSPy does.
            settings["api_key"] = "none"
    return settings


def _warn_if_gone(spec: str) -> None:
    for preset in PRESETS:
        if spec == preset.original and not preset.is_served:
            _logger.warning("%s is gone: %s Use %r.", spec, preset.status, preset.use)
