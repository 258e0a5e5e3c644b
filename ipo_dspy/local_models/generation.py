"""Sampling with a batch of rows that each draw from a seed of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class Sampling:
    """How answers are generated; requests with equal settings may share a batch.

    Attributes:
        temperature: 0 takes the likeliest token each time.
        top_p: keep the likeliest tokens up to this mass; 1 keeps all.
        top_k: keep so many of the likeliest tokens; 0 keeps all.
        max_tokens: most new tokens.
        stops: texts that end the answer and are not part of it.
    """

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    stops: tuple[str, ...]


@dataclass(frozen=True)
class Generated:
    """An answer.

    Attributes:
        text: without end tokens and stop texts.
        input_tokens: length of the prompt.
        tokens: how many were made, without the one that ends the answer.
        cut_off: whether `max_tokens` ended it.
    """

    text: str
    input_tokens: int
    tokens: int
    cut_off: bool


def generate(
    model: Any,
    inputs: Mapping[str, Any],
    tokenizer: Any,
    sampling: Sampling,
    seeds: Sequence[int],
) -> list[Generated]:
    """Generate an answer for each row.

    A row's random numbers come from its own seed, so the rows beside it do not change its answer,
    save where two tokens are so close that the rounding of another batch size decides.

    Args:
        model: a transformers model with `generate`.
        inputs: its inputs, padded on the left: `input_ids` [N, L], `attention_mask` [N, L], ...
        tokenizer: decodes what was generated, and has a padding token.
        sampling: settings of all rows.
        seeds: N numbers, below 2**63.
    """
    stops = list(sampling.stops)
    with torch.inference_mode():
        ids = model.generate(
            **inputs,
            # The noise turns taking the likeliest token into sampling, without torch's own state.
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            num_beams=1,
            max_new_tokens=sampling.max_tokens,
            pad_token_id=tokenizer.pad_token_id,
            logits_processor=_sampled(sampling, seeds),
            **({"stop_strings": stops, "tokenizer": tokenizer} if stops else {}),
        )
    made = ids[:, inputs["input_ids"].shape[1] :].tolist()
    lengths = inputs["attention_mask"].sum(dim=1).tolist()
    ends = _ends(model, tokenizer)
    return [
        _answer(row, length, tokenizer, sampling, ends)
        for row, length in zip(made, lengths, strict=True)
    ]


def _sampled(sampling: Sampling, seeds: Sequence[int]) -> LogitsProcessorList:
    if sampling.temperature == 0:
        return LogitsProcessorList()
    processors: list[LogitsProcessor] = [TemperatureLogitsWarper(float(sampling.temperature))]
    if sampling.top_k > 0:
        processors.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        processors.append(TopPLogitsWarper(sampling.top_p))
    return LogitsProcessorList([*processors, _OwnNoise(seeds)])


class _OwnNoise(LogitsProcessor):
    """Adds Gumbel noise that each row owns: the argmax is then distributed as the softmax."""

    def __init__(self, seeds: Sequence[int]) -> None:
        # Drawn on the CPU, numbers are the same whatever device the model is on.
        self._chances = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Add noise: [N, V] to [N, V]."""
        vocabulary = scores.shape[1]
        waiting = [torch.empty(vocabulary).exponential_(generator=own) for own in self._chances]
        return scores - torch.stack(waiting).log().to(scores.device)


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, by the model's settings and by its tokenizer."""
    ends = model.generation_config.eos_token_id
    return frozenset([*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id])


def _answer(
    row: Sequence[int], length: int, tokenizer: Any, sampling: Sampling, ends: frozenset[int]
) -> Generated:
    count = next((place for place, token in enumerate(row) if token in ends), len(row))
    while count and row[count - 1] == tokenizer.pad_token_id:
        count -= 1
    text = tokenizer.decode(row[:count], skip_special_tokens=True)
    stopped = min((text.find(stop) for stop in sampling.stops if stop in text), default=None)
    return Generated(
        text[:stopped].strip(),
        length,
        count,
        cut_off=stopped is None and count == sampling.max_tokens,
    )
