"""Image-text-to-text models of transformers, in this process: BLIP-2, Fuyu, LLaVA, Qwen-VL, ..."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dspy.lm15 import ImagePart

from ipo_dspy.local_models.pretrained import (
    Loaded,
    PretrainedEngine,
    Row,
    plain_prompt,
    render_chat,
)
from ipo_dspy.proposing.engine import Turn
from ipo_dspy.proposing.reading import Asked

if TYPE_CHECKING:
    import torch

    from ipo_dspy.local_models.generation import Generated

_PLACE_IMAGES_THEMSELVES = frozenset({"blip-2", "fuyu", "instructblip"})
"""Model types whose processor puts the image in front of the text; elsewhere a token marks it."""


class VisionEngine(PretrainedEngine):
    """A vision-language model: `dspy.LM("hf/x", engine=VisionEngine("Qwen/Qwen3-VL-4B-Instruct"))`.

    Takes every model of transformers' `AutoModelForImageTextToText`. Conversations are written by
    the processor's chat template; a model without one gets the images and then the plain question
    without DSPy's format. With `trust_remote_code`, models whose own code answers through a `chat`
    method, as MiniCPM-V-2's does, are asked one request at a time. Arguments are those of
    `PretrainedEngine`.
    """

    def load(self, options: Mapping[str, Any], dtype: torch.dtype) -> Loaded:
        """Load model and processor; weights from safetensors alone."""
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        config = AutoConfig.from_pretrained(self.model, **options)
        if not _is_known(config):
            from ipo_dspy.local_models.own_chat import load_own_chat

            return load_own_chat(self.model, self.tokenizer, options, dtype)
        processor = AutoProcessor.from_pretrained(self.tokenizer, **options)
        processor.tokenizer.padding_side = "left"
        model = AutoModelForImageTextToText.from_pretrained(
            self.model, dtype=dtype, use_safetensors=True, **options
        )
        return Loaded(model, processor, processor.tokenizer)

    def room(self, conversation: list[Turn], asked: Asked) -> int | None:
        """Give no bound: images take as many tokens as the processor decides."""
        return None

    def inputs(self, rows: Sequence[Row]) -> Mapping[str, Any]:
        """Render a batch and prepare its images."""
        loaded = self.loaded
        flat = [image for row in rows for image in row.images]
        grouped = [list(row.images) for row in rows]
        encoded = loaded.processor(
            text=[self._text(row) for row in rows],
            images=(grouped if loaded.has_chat_template else flat) if flat else None,
            padding=True,
            return_tensors="pt",
        )
        return dict(encoded)

    def generate(self, rows: Sequence[Row]) -> list[Generated]:
        """Answer a batch, through the model's own `chat` where it has one."""
        if self.loaded.processor is not None:
            return super().generate(rows)
        from ipo_dspy.local_models.own_chat import own_answer

        return [own_answer(self.loaded, row) for row in rows]

    def _text(self, row: Row) -> str:
        processor = self.loaded.processor
        if self.loaded.has_chat_template:
            return render_chat(
                [
                    {"role": role, "content": [_part(part) for part in content]}
                    for role, content in row.conversation
                ],
                lambda messages: processor.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                ),
            )
        question = plain_prompt(row.asked)
        if self.loaded.model.config.model_type in _PLACE_IMAGES_THEMSELVES:
            return question
        return f"{processor.image_token}\n" * len(row.images) + question


def _is_known(config: Any) -> bool:
    """Whether the auto class loads it, by transformers' own list or by the model's."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    own_classes = getattr(config, "auto_map", None) or {}
    return (
        config.model_type in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
        or "AutoModelForImageTextToText" in own_classes
    )


def _part(part: str | ImagePart) -> dict[str, str]:
    return {"type": "text", "text": part} if isinstance(part, str) else {"type": "image"}
