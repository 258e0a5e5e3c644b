"""Evolve: the prompt model's proposals, mixed with edits and crossings of the best templates."""

from __future__ import annotations

import logging
import random
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ipo_dspy.prompts.evidence import Evidence
from ipo_dspy.prompts.template import SLOT
from ipo_dspy.prompts.writing import TemplateWriter
from ipo_dspy.records import State, Trial
from ipo_dspy.scoring.ranking import by_merit
from ipo_dspy.search.strategies.base import Ask, Candidate, SearchView

if TYPE_CHECKING:
    from ipo_dspy.search.history import History

logger = logging.getLogger(__name__)

_MIXED_IN = 0.5
"""Edits for each proposal of the prompt model: one in three templates is one."""

_PARENTS = 20
"""So many of the best templates are edited and crossed."""

_SHARE_OF_NEW = 0.1
_LATEST, _ENOUGH, _FEW = 10, 5, 0.1
"""With so many answers and at most this share of the latest ones usable, it goes on alone."""


class Evolve:
    """Asks the prompt model as `Steps` does, and tries edits of the best templates after a step.

    An edit adds, drops or replaces a word or a phrase, moves the class name to the front or the
    end, or joins pieces of two templates. Its words come from the image descriptions, the history
    and a vocabulary of how pictures look, weighed by what the templates with them reached. Edits
    take no call. Where hardly an answer of the prompt model can be used, the search goes on with
    edits alone. Instructions of language models, which cost calls to score, are not edited.

    Args:
        prompts_per_step: proposals of a step, each a question of its own.
        seed: of the edits.
        mixed_in: edits for each proposal of the prompt model.
    """

    in_order = True

    def __init__(self, prompts_per_step: int, seed: int = 0, mixed_in: float = _MIXED_IN) -> None:
        self._prompts_per_step = prompts_per_step
        self._seed = seed
        self._edits = round(prompts_per_step * mixed_in)
        self._edits_left = 0
        self._refused: deque[bool] = deque(maxlen=_LATEST)
        self._is_alone = False

    def ask(self, view: SearchView, free: int) -> Sequence[Ask | Candidate]:
        """Ask for the proposals of a step, then try edits, then go on to the next one."""
        if view.open:
            return ()
        if self._edits_left:
            name = view.predictor(view.step)
            if edits := self._next_edits(view, view.step, name, free):
                return edits
        step = view.step + 1
        if step > view.steps:
            return ()
        name = view.predictor(step)
        if self._is_alone:
            self._edits_left = self._prompts_per_step + self._edits
            if edits := self._next_edits(view, step, name, free):
                return edits
        self._edits_left = self._edits
        return [Ask(step, name)] * min(free, self._prompts_per_step)

    def tell(self, trial: Trial) -> None:
        """Hear whether the prompt model's answers can be used."""
        if trial.step == 0 or trial.edited or self._is_alone:
            return
        refused = trial.state is State.INVALID and trial.counts_as_failure
        self._refused.append(refused)
        usable = len(self._refused) - sum(self._refused)
        if len(self._refused) >= _ENOUGH and usable <= _FEW * len(self._refused):
            self._is_alone = True
            logger.warning(
                "Of the latest %d answers of the prompt model, %d could be used (%s); the search "
                "goes on with edits of the best templates alone.",
                len(self._refused),
                usable,
                trial.reason,
            )

    def _next_edits(self, view: SearchView, step: int, name: str, free: int) -> list[Candidate]:
        wanted = min(free, self._edits_left)
        self._edits_left -= wanted
        chance = random.Random(f"{self._seed}/{view.asked}")
        texts = _edited(view.histories[name], view.descriptions, wanted, chance)
        return [Candidate(step, name, text) for text in texts]


def _edited(
    history: History, descriptions: Sequence[str], wanted: int, chance: random.Random
) -> list[str]:
    """Write texts that were not tried yet, from the best ones of a history."""
    scored = [(trial.text, trial.score) for trial in history if trial.score is not None]
    if not all(SLOT in text for text, _ in scored):
        return []
    # What is best by accuracy alone is so by luck in part, and its kin are too.
    order = by_merit([(score.accuracy, history.ranking.loss(score)) for _, score in scored])
    texts = [scored[place][0] for place in order]
    evidence = Evidence.of(descriptions, texts)
    writer = TemplateWriter(texts[-_PARENTS:], evidence, chance, _SHARE_OF_NEW)
    written: list[str] = []
    for _ in range(wanted):
        text = writer.write(lambda text: text in history or text in written)
        if text not in history and text not in written:
            written.append(text)
    return written
