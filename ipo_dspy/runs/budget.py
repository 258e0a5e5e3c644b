"""What a search may cost, what it will cost, and what it has cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ipo_dspy.errors.arguments import Bound, Count, Natural, checked
from ipo_dspy.records import ClassText, Reply, Trial


@checked
@dataclass(frozen=True)
class Budget:
    """When a search ends; None means no bound.

    Calls, tokens and dollars are those of the prompt model, and of the program's own language
    models while candidates are scored, over the whole run, interrupted parts included. Calls are
    counted one by one; the other bounds are checked between steps, so a step that has begun is
    finished, except where scoring calls language models: then they are checked before each
    candidate. `seconds` counts from the start of the `compile` that is running, and ends it also
    while calls hang. Tokens and dollars that are unknown are not counted.

    Args:
        steps: how many steps to make.
        calls: most calls.
        tokens: most tokens sent and received.
        dollars: most dollars, where DSPy knows the price.
        seconds: most seconds.
        patience: most steps in a row without a better prompt.

    Raises:
        ArgumentError: a bound is negative, or `steps` is below 1.
    """

    steps: Count = 100
    calls: Natural | None = None
    tokens: Natural | None = None
    dollars: Bound | None = None
    seconds: Bound | None = None
    patience: Natural | None = None


@dataclass
class Spent:
    """What a search has cost so far; tokens and dollars stay None until one is known.

    `calls` are all calls, and `scoring_calls` those among them that scored candidates.
    """

    calls: int = 0
    scoring_calls: int = 0
    tokens: int | None = None
    dollars: float | None = None
    steps_without_gain: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, made: Reply | Trial | ClassText) -> None:
        """Count the call of a reply or of a class's text, or the calls that scored a trial."""
        cost = made.cost
        if cost is None:
            return
        self.calls += cost.calls
        if isinstance(made, Trial):
            self.scoring_calls += cost.calls
        if cost.tokens is not None:
            self.tokens = (self.tokens or 0) + cost.tokens
        if cost.dollars is not None:
            self.dollars = (self.dollars or 0.0) + cost.dollars

    def out_of_time(self, budget: Budget, waited_for: int) -> str:
        """Say that the time was up while so many answers were waited for."""
        seconds = time.monotonic() - self.started
        used = f"seconds: {seconds:.0f} of {budget.seconds or 0:g} used"
        return f"{used}, {waited_for} answers still out" if waited_for else used

    def lacks_calls(self, budget: Budget, next_calls: int) -> bool:
        """Tell whether the bound on calls forbids so many more."""
        return budget.calls is not None and self.calls + next_calls > budget.calls

    def exhausted(self, budget: Budget, next_calls: int) -> str:
        """Name the bound that forbids the next step, or give an empty text."""
        seconds = time.monotonic() - self.started
        if self.lacks_calls(budget, next_calls):
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
_TOKENS_OF_A_CLASS_TEXT = 10


@dataclass(frozen=True)
class Plan:
    """What a search will ask for, worked out before any call.

    `description_calls` go to the vision model, `proposal_calls` to the prompt model;
    `proposal_tokens` is about how many tokens the proposals send in all, answers included.
    `scoring_calls` is about how many calls the program's own language models take to score the
    candidates: one for each predictor, example and candidate, and so none for CLIP programs.
    `class_text_calls` are those that describe classes, one for each, and are not in
    `proposal_tokens`; `class_text_tokens` is about how many tokens they take.
    """

    description_calls: int
    proposal_calls: int
    proposal_tokens: int
    scoring_calls: int = 0
    class_text_calls: int = 0
    class_text_tokens: int = 0

    def with_class_texts(self, classes: int, instruction: str, texts: int) -> Plan:
        """The plan with a call for each class, which is asked for so many texts."""
        each = estimate_tokens([instruction]) + texts * _TOKENS_OF_A_CLASS_TEXT
        tokens = classes * (each + _TOKENS_OF_THE_FORMAT)
        return replace(self, class_text_calls=classes, class_text_tokens=tokens)

    @classmethod
    def estimate(
        cls,
        *,
        calls: int,
        instructions: Sequence[str],
        descriptions: int,
        calls_per_image: int,
        history_size: int,
        scoring_calls: int = 0,
    ) -> Plan:
        """Estimate the tokens of calls that each show instructions, descriptions and history."""
        words = _WORDS_OF_A_DESCRIPTION if calls_per_image else _WORDS_OF_A_WORD_LIST
        shown = descriptions * words + history_size * _WORDS_OF_A_SCORED_PROMPT
        tokens = estimate_tokens([*instructions, "word " * shown])
        return cls(
            description_calls=descriptions * calls_per_image,
            proposal_calls=calls,
            proposal_tokens=calls * (tokens + _TOKENS_OF_THE_FORMAT + _TOKENS_OF_AN_ANSWER),
            scoring_calls=scoring_calls,
        )


def estimate_tokens(texts: Sequence[str]) -> int:
    """Estimate how many tokens a language model makes of texts."""
    return round(TOKENS_PER_WORD * sum(len(text.split()) for text in texts))
