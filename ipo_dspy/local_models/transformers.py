"""Causal language models of transformers, in this process: `hf:microsoft/phi-2` and its like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dspy.lm15 import ContextLengthError

from ipo_dspy.errors import ArgumentError
from ipo_dspy.local_models.pretrained import (
    Loaded,
    PretrainedEngine,
    Row,
    image_parts,
    plain_prompt,
    render_chat,
)
from ipo_dspy.proposing.engine import Turn
from ipo_dspy.proposing.reading import Asked

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class TransformersEngine(PretrainedEngine):
    """A causal language model: `dspy.LM("hf/phi-2", engine=TransformersEngine("microsoft/phi-2"))`.

    Conversations are written by the tokenizer's chat template. A model without one gets the plain
    question without DSPy's format. Arguments are those of `PretrainedEngine`.
    """

    def load(self, options: Mapping[str, Any], dtype: torch.dtype) -> Loaded:
        """Load model and tokenizer; weights from safetensors alone."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.tokenizer, **options)
        model = AutoModelForCausalLM.from_pretrained(
            self.model, dtype=dtype, use_safetensors=True, **options
        )
        return Loaded(model, tokenizer, tokenizer)

    def room(self, conversation: list[Turn], asked: Asked) -> int | None:
        """How many tokens the model's context leaves; see `PretrainedEngine.room`."""
        if image_parts(conversation):
            raise ArgumentError(f"{self.model!r} reads text alone, and the request has an image.")
        most = getattr(self.loaded.model.config, "max_position_embeddings", None)
        length = len(self._tokens(conversation, asked))
        if most is None:
            return None
        if length >= most:
            raise ContextLengthError(
                f"the request has {length} tokens and {self.model!r} takes {most} with the answer; "
                "show fewer descriptions or a shorter history"
            )
        return int(most) - length

    def inputs(self, rows: Sequence[Row]) -> Mapping[str, Tensor]:
        """Tokenize a batch."""
        return _padded([self._tokens(row.conversation, row.asked) for row in rows])

    def _tokens(self, conversation: list[Turn], asked: Asked) -> list[int]:
        tokenizer = self.loaded.tokenizer
        if not self.loaded.has_chat_template:
            tokens: list[int] = tokenizer(plain_prompt(asked)).input_ids
            return tokens
        messages = [
            {"role": role, "content": "".join(map(str, parts))} for role, parts in conversation
        ]
        text = render_chat(
            messages,
            lambda turns: tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True
            ),
        )
        tokens = tokenizer(text, add_special_tokens=False).input_ids
        return tokens


def _padded(rows: Sequence[Sequence[int]]) -> Mapping[str, Tensor]:
    """Pad on the left, where it does not come between a prompt and its answer."""
    import torch

    longest = max(map(len, rows))
    # Masked, so that any token will do.
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, longest - len(row) :] = torch.tensor(row)
        mask[index, longest - len(row) :] = 1
    return {"input_ids": ids, "attention_mask": mask}
