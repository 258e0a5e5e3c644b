"""Sampled generation with a batch of rows that each have settings of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)


@dataclass(frozen=True)
class Sampling:
    """How one row is generated.

    Attributes:
        seed: what the row's random numbers start from.
        temperature: 0 takes the likeliest token each time.
        top_p: keep the likeliest tokens up to this mass; 1 keeps all.
        top_k: keep so many of the likeliest tokens; 0 keeps all.
        max_tokens: most new tokens.
        stops: texts that end the answer and are not part of it.
    """

    seed: int
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
        tokens: how many were made.
        cut_off: whether `max_tokens` ended it.
    """

    text: str
    input_tokens: int
    tokens: int
    cut_off: bool


def generate(
    model: Any, inputs: Mapping[str, Tensor], tokenizer: Any, rows: Sequence[Sampling]
) -> list[Generated]:
    """Generate an answer for each row.

    A row's random numbers come from its own seed, so the rows beside it do not change its answer,
    save where two tokens are so close that the rounding of another batch size decides.

    Args:
        model: a transformers model with `generate`.
        inputs: its inputs, padded on the left: `input_ids` [N, L], `attention_mask` [N, L], ...
        tokenizer: decodes what was generated.
        rows: N settings.
    """
    ends = _ends(model, tokenizer)
    done = _RowsDone(tokenizer, rows, ends)
    with torch.inference_mode():
        ids = model.generate(
            **inputs,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            max_new_tokens=max(row.max_tokens for row in rows),
            pad_token_id=_padding(tokenizer, ends),
            logits_processor=LogitsProcessorList([_OwnNoise(rows)]),
            stopping_criteria=StoppingCriteriaList([done]),
        )
    return done.results(ids, inputs["attention_mask"].sum(dim=1).tolist())


class _OwnNoise(LogitsProcessor):
    """Turns the choice of the largest logit into sampling, with noise that each row owns.

    The argmax of logits plus Gumbel noise is distributed as the softmax of the logits.
    """

    def __init__(self, rows: Sequence[Sampling]) -> None:
        self._rows = rows
        self._warpers = [_warpers(row) for row in rows]
        # Drawn on the CPU, numbers are the same whatever device the model is on.
        self._chances = [torch.Generator().manual_seed(row.seed) for row in rows]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Add noise: [N, V] to [N, V]."""
        noisy = scores.clone()
        for index, row in enumerate(self._rows):
            if row.temperature == 0:
                continue
            kept = self._warpers[index](input_ids[index : index + 1], scores[index : index + 1])
            waiting = torch.empty(scores.shape[1]).exponential_(generator=self._chances[index])
            noisy[index] = kept[0] - waiting.log().to(scores.device)
        return noisy


def _warpers(row: Sampling) -> LogitsProcessorList:
    warpers = LogitsProcessorList()
    if row.temperature > 0 and row.temperature != 1:
        warpers.append(TemperatureLogitsWarper(row.temperature))
    if row.top_k > 0:
        warpers.append(TopKLogitsWarper(row.top_k))
    if row.top_p < 1:
        warpers.append(TopPLogitsWarper(row.top_p))
    return warpers


class _RowsDone(StoppingCriteria):
    """Ends each row at its own limit, at an end token or at one of its stop texts."""

    def __init__(self, tokenizer: Any, rows: Sequence[Sampling], ends: frozenset[int]) -> None:
        self._tokenizer = tokenizer
        self._rows = rows
        self._ends = ends
        self._start: int | None = None
        self._lengths = [0] * len(rows)
        self._cut_off = [False] * len(rows)

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Look at the newest token of every row: [N, L] to [N] of bool."""
        if self._start is None:
            self._start = input_ids.shape[1] - 1
        made = input_ids.shape[1] - self._start
        for index in range(len(self._rows)):
            if self._lengths[index] == 0 and self._is_done(index, input_ids[index], made):
                self._lengths[index] = made
        return torch.tensor([length > 0 for length in self._lengths], device=input_ids.device)

    def _is_done(self, index: int, ids: Tensor, made: int) -> bool:
        row = self._rows[index]
        if int(ids[-1]) in self._ends:
            return True
        if row.stops:
            # A token has at least one byte, so a stop text cannot reach further back than this.
            reach = max(len(stop.encode()) for stop in row.stops)
            tail = self._tokenizer.decode(ids[-min(made, reach) :])
            if any(stop in tail for stop in row.stops):
                return True
        if made >= row.max_tokens:
            self._cut_off[index] = True
            return True
        return False

    def results(self, ids: Tensor, input_tokens: Sequence[int]) -> list[Generated]:
        """Cut the answers out of what `generate` gave: [N, L] tokens."""
        start = self._start or 0
        return [
            Generated(
                self._text(ids[index, start : start + self._lengths[index]], row.stops),
                input_tokens[index],
                self._lengths[index],
                self._cut_off[index],
            )
            for index, row in enumerate(self._rows)
        ]

    def _text(self, ids: Tensor, stops: Sequence[str]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        found = [text.find(stop) for stop in stops if stop in text]
        return text[: min(found, default=len(text))].strip()


def _ends(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer, by the model's settings and by its tokenizer."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset(end for end in [*listed, tokenizer.eos_token_id] if end is not None)


def _padding(tokenizer: Any, ends: frozenset[int]) -> int:
    padding = tokenizer.pad_token_id
    return int(padding if padding is not None else min(ends, default=0))
