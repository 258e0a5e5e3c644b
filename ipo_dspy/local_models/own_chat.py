"""Models that come with code of their own and answer through its `chat`, as MiniCPM-V-2 does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ipo_dspy.errors import ArgumentError
from ipo_dspy.local_models.engine import Loaded, Row
from ipo_dspy.local_models.generation import Generated, Sampling


def load_own_chat(
    name: str, tokenizer: str, options: Mapping[str, Any], dtype: torch.dtype
) -> Loaded:
    """Load a model with its own code; `processor` is None.

    Raises:
        ArgumentError: its code offers no `chat`.
    """
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(name, dtype=dtype, use_safetensors=True, **options)
    if not callable(getattr(model, "chat", None)):
        raise ArgumentError(
            f"transformers knows {model.config.model_type!r} as no image-text-to-text model, and "
            "its class has no method 'chat'"
        )
    return Loaded(model, None, AutoTokenizer.from_pretrained(tokenizer, **options))


def own_answer(loaded: Loaded, row: Row, sampling: Sampling) -> Generated:
    """Ask a model's own `chat` one question.

    It draws from torch's global generators, which are set to the row's seed and put back after.

    Raises:
        ArgumentError: there is not exactly one image.
    """
    if len(row.images) != 1:
        raise ArgumentError(f"this model takes one image with each question, got {len(row.images)}")
    samples = sampling.temperature > 0
    settings = {"temperature": sampling.temperature, "top_p": sampling.top_p} if samples else {}
    device = loaded.model.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.inference_mode():
        torch.manual_seed(row.seed)
        answer = loaded.model.chat(
            image=row.images[0],
            msgs=[{"role": "user", "content": row.question}],
            context=None,
            tokenizer=loaded.tokenizer,
            sampling=samples,
            max_new_tokens=sampling.max_tokens,
            **settings,
        )
    text = answer if isinstance(answer, str) else str(answer[0])
    made, read = (len(loaded.tokenizer(said).input_ids) for said in (text, row.question))
    return Generated(text.strip(), read, made, cut_off=made >= sampling.max_tokens)
