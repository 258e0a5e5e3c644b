"""Random: templates drawn from a vocabulary, as a control that learns nothing."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ipo_dspy.prompts.evidence import NOTHING_KNOWN
from ipo_dspy.prompts.writing import TemplateWriter
from ipo_dspy.records import Trial
from ipo_dspy.search.strategies.base import Candidate, SearchView


class RandomTexts:
    """Tries templates of random visual words and never asks the prompt model.

    What a search has to beat: it sees neither scores nor images, and every word is equally likely.

    Args:
        prompts_per_step: templates of a step.
        seed: of the words.
    """

    in_order = True

    def __init__(self, prompts_per_step: int, seed: int = 0) -> None:
        self._prompts_per_step = prompts_per_step
        self._seed = seed

    def ask(self, view: SearchView, free: int) -> Sequence[Candidate]:
        """Draw the templates of the next step where the one before is settled."""
        step = view.step + 1
        if view.open or step > view.steps:
            return ()
        name = view.predictor(step)
        history = view.histories[name]
        writer = TemplateWriter([], NOTHING_KNOWN, random.Random(f"{self._seed}/{step}"))
        texts: list[str] = []
        for _ in range(min(free, self._prompts_per_step)):
            texts.append(writer.write(lambda text: text in history or text in texts))
        return [Candidate(step, name, text) for text in texts]

    def tell(self, trial: Trial) -> None:
        """It learns nothing."""
