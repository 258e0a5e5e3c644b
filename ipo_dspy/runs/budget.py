"""What a search may cost, what it will cost, and what it has cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from ipo_dspy.errors import ArgumentError
from ipo_dspy.records import Reply


@dataclass(frozen=True)
class Budget:
    """When a search ends; None means no bound.

    Calls, tokens and dollars are those of the prompt model over the whole run, interrupted parts
    included; `seconds` counts from the start of the `compile` that is running. Calls are
    counted one by one; the other bounds are checked between steps, so a step that has begun is
    finished. Tokens and dollars that are unknown are not counted.

    Args:
        steps: how many steps to make.
        calls: most calls of the prompt model.
        tokens: most tokens sent and received.
        dollars: most dollars, where DSPy knows the price.
        seconds: most seconds.
        patience: most steps in a row without a better prompt.

    Raises:
        ArgumentError: a bound is negative, or `steps` is below 1.
    """

    steps: int = 100
    calls: int | None = None
    tokens: int | None = None
    dollars: float | None = None
    seconds: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ArgumentError(f"Budget.steps must be at least 1, got {self.steps}.")
        for name in ("calls", "tokens", "dollars", "seconds", "patience"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ArgumentError(f"Budget.{name} must not be negative, got {value}.")


@dataclass
class Spent:
    """What a search has cost so far; tokens and dollars stay None until one is known."""

    calls: int = 0
    tokens: int | None = None
    dollars: float | None = None
    steps_without_gain: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, reply: Reply) -> None:
        """Count one call."""
        self.calls += 1
        if reply.tokens is not None:
            self.tokens = (self.tokens or 0) + reply.tokens
        if reply.dollars is not None:
            self.dollars = (self.dollars or 0.0) + reply.dollars

    def exhausted(self, budget: Budget, next_calls: int) -> str:
        """Name the bound that forbids the next step, or give an empty text."""
        seconds = time.monotonic() - self.started
        if budget.calls is not None and self.calls + next_calls > budget.calls:
            return f"calls: {self.calls} of {budget.calls} made"
        if budget.tokens is not None and (self.tokens or 0) >= budget.tokens:
            return f"tokens: {self.tokens} of {budget.tokens} used"
        if budget.dollars is not None and (self.dollars or 0.0) >= budget.dollars:
            return f"dollars: {self.dollars} of {budget.dollars} spent"
        if budget.seconds is not None and seconds >= budget.seconds:
            return f"seconds: {seconds:.0f} of {budget.seconds:g} used"
        if budget.patience is not None and self.steps_without_gain >= budget.patience:
            return f"patience: no better prompt in {self.steps_without_gain} steps"
        return ""


TOKENS_PER_WORD = 1.4
"""English text in current tokenizers, roughly; a plan is an estimate."""
_WORDS_OF_A_DESCRIPTION = 60
_WORDS_OF_A_WORD_LIST = 12
_WORDS_OF_A_SCORED_PROMPT = 20
_TOKENS_OF_THE_FORMAT = 150
_TOKENS_OF_AN_ANSWER = 60


@dataclass(frozen=True)
class Plan:
    """What a search will ask for, worked out before any call.

    `description_calls` go to the vision model, `proposal_calls` to the prompt model;
    `proposal_tokens` is about how many tokens the proposals send in all, answers included.
    """

    description_calls: int
    proposal_calls: int
    proposal_tokens: int

    @classmethod
    def estimate(
        cls,
        *,
        calls: int,
        instructions: Sequence[str],
        descriptions: int,
        calls_per_image: int,
        history_size: int,
    ) -> Plan:
        """Estimate the tokens of calls that each show instructions, descriptions and history."""
        words = _WORDS_OF_A_DESCRIPTION if calls_per_image else _WORDS_OF_A_WORD_LIST
        shown = descriptions * words + history_size * _WORDS_OF_A_SCORED_PROMPT
        tokens = estimate_tokens([*instructions, "word " * shown])
        return cls(
            description_calls=descriptions * calls_per_image,
            proposal_calls=calls,
            proposal_tokens=calls * (tokens + _TOKENS_OF_THE_FORMAT + _TOKENS_OF_AN_ANSWER),
        )


def estimate_tokens(texts: Sequence[str]) -> int:
    """Estimate how many tokens a language model makes of texts."""
    return round(TOKENS_PER_WORD * sum(len(text.split()) for text in texts))
