"""Steady: a new question for every answer, for prompt models that take long."""

from __future__ import annotations

from collections.abc import Sequence

from ipo_dspy.records import Trial
from ipo_dspy.search.strategies.base import Ask, SearchView


class Steady:
    """Keeps questions out all the time, each asked from the history as it then stands.

    What is found depends on the order in which answers arrive.

    Args:
        prompts_per_step: how many questions make a step, and are out at once.
        seed: plays no part.
    """

    in_order = False

    def __init__(self, prompts_per_step: int, seed: int = 0) -> None:
        self._prompts_per_step = prompts_per_step

    def ask(self, view: SearchView, free: int) -> Sequence[Ask]:
        """Ask for as many as may be out."""
        wanted = min(free, self._prompts_per_step - view.open)
        steps = [1 + (view.asked + n) // self._prompts_per_step for n in range(wanted)]
        return [Ask(step, view.predictor(step)) for step in steps if step <= view.steps]

    def tell(self, trial: Trial) -> None:
        """The history holds it already."""
