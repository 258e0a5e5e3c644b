"""Counts calls of a language model, ends an optimizer at its budget, and notes what it tried."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from dspy.utils.callback import BaseCallback

from ipo_dspy.programs.classifier import CLIPPredict


class BudgetSpentError(BaseException):
    """The budget of calls is spent.

    No `Exception`, so that optimizers which carry on after errors end as well.
    """


@dataclass(frozen=True)
class Tried:
    """A template that an optimizer ran on at least one image.

    `calls` is how many calls of the language model had been made by then.
    """

    calls: int
    text: str


class Meter(BaseCallback):
    """A DSPy callback, for all that one optimizer does: `dspy.context(callbacks=[meter])`.

    A call for n completions counts as n calls.

    Args:
        budget: how many calls may be made.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.calls = 0
        self.tried: list[Tried] = []
        self.started = time.perf_counter()
        self._known: set[str] = set()
        self._lock = threading.Lock()

    @property
    def is_spent(self) -> bool:
        """Whether no call is left."""
        return self.calls >= self.budget

    def note(self, text: str) -> None:
        """Note that a template was tried."""
        with self._lock:
            if text not in self._known:
                self._known.add(text)
                self.tried.append(Tried(self.calls, text))

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Count a call, or end the optimizer."""
        wanted = int({**instance.kwargs, **inputs.get("kwargs", {})}.get("n") or 1)
        with self._lock:
            if self.calls + wanted > self.budget:
                self.calls = self.budget
                raise BudgetSpentError
            self.calls += wanted

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Note the template that a classifier is about to use."""
        if isinstance(instance, CLIPPredict):
            self.note(instance.template.text)
