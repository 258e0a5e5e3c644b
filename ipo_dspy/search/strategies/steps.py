"""The paper's steps: all proposals of a step see the same history."""

from __future__ import annotations

from collections.abc import Sequence

from ipo_dspy.records import Trial
from ipo_dspy.search.strategies.base import Ask, SearchView


class Steps:
    """Asks for all proposals of a step at once, and goes on when all are settled.

    Args:
        prompts_per_step: proposals of a step, each a question of its own.
        seed: plays no part.
        negative: how many of the worst prompts are shown besides the best of the history.
    """

    in_order = True

    def __init__(self, prompts_per_step: int, seed: int = 0, negative: int = 0) -> None:
        self._prompts_per_step = prompts_per_step
        self._negative = negative

    def ask(self, view: SearchView, free: int) -> Sequence[Ask]:
        """Ask for the next step where the one before is settled."""
        step = view.step + 1
        if view.open or step > view.steps:
            return ()
        return [Ask(step, view.predictor(step), negative=self._negative)] * min(
            free, self._prompts_per_step
        )

    def tell(self, trial: Trial) -> None:
        """The history holds it already."""
