"""What calls of language models cost, counted while they are made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dspy

from ipo_dspy.records import Cost
from ipo_dspy.upstream.dspy_parts import forget

MOST_TOKENS = 2**40
"""No call has more; a count beyond is as good as unknown."""


class Meter:
    """Sees every answer of a language model inside `measured`, whoever asked for it.

    DSPy writes each answer to the histories of the modules that called; a meter stands among them.
    """

    def __init__(self, keep_history: bool) -> None:
        self.history = _Intake(keep_history)

    @property
    def cost(self) -> Cost:
        """What was counted: calls, and tokens and dollars where they are known."""
        entries = self.history.entries
        return Cost(calls=len(entries), tokens=_tokens(entries), dollars=_dollars(entries))


class _Intake:
    """A history that forgets nothing; DSPy asks for its length before it drops the oldest."""

    def __init__(self, keep_history: bool) -> None:
        self.entries: list[Mapping[str, Any]] = []
        self._keep_history = keep_history

    def __len__(self) -> int:
        return 0

    def append(self, entry: Mapping[str, Any]) -> None:
        self.entries.append({"usage": entry["usage"], "cost": entry["cost"]})
        if not self._keep_history:
            forget(entry)


@contextmanager
def measured() -> Iterator[Meter]:
    """Count what language models are asked inside.

    Where DSPy is told to keep no history, each model and module keeps its last entry alone.
    """
    settings = dspy.settings
    keep = not settings.disable_history
    meter = Meter(keep)
    size = settings.max_history_size if keep else 1
    with dspy.context(
        caller_modules=[meter, *(settings.caller_modules or [])],
        disable_history=False,
        max_history_size=max(1, size),
    ):
        yield meter


def _tokens(entries: Sequence[Mapping[str, Any]]) -> int | None:
    counts = [entry["usage"].get("total_tokens") for entry in entries if entry["usage"]]
    # Servers count, and may say anything.
    known = [n for n in counts if isinstance(n, int) and 0 <= n <= MOST_TOKENS]
    return sum(known) if known else None


def _dollars(entries: Sequence[Mapping[str, Any]]) -> float | None:
    """Sum what calls cost; None where one is unknown. Answers of DSPy's cache have no usage."""
    costs = [entry["cost"] for entry in entries if entry["usage"]]
    return sum(costs) if costs and None not in costs else None
