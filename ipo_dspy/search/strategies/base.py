"""The seam of strategies: what a search shows them, and what they may ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Protocol, cast, runtime_checkable

from ipo_dspy import registry
from ipo_dspy.errors import ArgumentError
from ipo_dspy.records import ScoredPrompt, Trial
from ipo_dspy.search.history import History


@dataclass(frozen=True)
class Ask:
    """A question to the prompt model: propose one text.

    Attributes:
        step: the step it belongs to, from 1; never lower than the one before.
        predictor: whose text is searched for; a key of `SearchView.histories`.
        shown: scored prompts to show, worst first; None shows the best ones of the history.
        negative: how many of the worst scored prompts to show besides the best ones.
        goal: what to write, in the place of the meta-prompt's goal; empty leaves that one.
    """

    step: int
    predictor: str
    shown: tuple[ScoredPrompt, ...] | None = None
    goal: str = ""
    negative: int = 0


@dataclass(frozen=True)
class Candidate:
    """A text to check and score, made without the prompt model.

    Attributes:
        step: the step it belongs to, from 1; never lower than the one before.
        predictor: whose text it is; a key of `SearchView.histories`.
        text: the text.
    """

    step: int
    predictor: str
    text: str


@dataclass(frozen=True)
class SearchView:
    """What a strategy may know of a search.

    Attributes:
        histories: the trials of each predictor by its name, in the program's order.
        steps: how many steps the budget allows.
        asked: how many questions and candidates there were so far.
        step: the step of the last one; 0 before the first.
        open: how many of them are not settled yet.
        descriptions: what the prompt model is told about the images.
    """

    histories: Mapping[str, History]
    steps: int
    asked: int = 0
    step: int = 0
    open: int = 0
    descriptions: Sequence[str] = ()

    def predictor(self, step: int) -> str:
        """The predictor whose turn it is in a step."""
        names = list(self.histories)
        return names[(step - 1) % len(names)]


@runtime_checkable
class Strategy(Protocol):
    """Decides what is tried next; the search asks, judges, remembers, stops and replays.

    A strategy is pure in its seed and in what it is shown and told: the search replays an
    interrupted run through the same strategy, and takes known answers for the questions it asks.
    `ipo_dspy.testing.check_strategy` checks that.
    """

    in_order: bool
    """Settle answers in the order they were asked for, so that the order of arrival plays no part.
    Otherwise each is settled when it arrives."""

    def ask(self, view: SearchView, free: int) -> Sequence[Ask | Candidate]:
        """Say what to try now, at most `free` of them; nothing to wait for what is open.

        Nothing where nothing is open ends the search.
        """

    def tell(self, trial: Trial) -> None:
        """Hear what became of one; initial texts come first, at step 0."""


def make_strategy(chosen: str | Strategy, *, prompts_per_step: int, seed: int) -> Strategy:
    """Find a strategy by its name.

    A name of the registry stands for what makes one, called with `prompts_per_step` and `seed`.

    Raises:
        UnknownNameError: there is none of that name.
        ArgumentError: what is given is no strategy.
    """
    if isinstance(chosen, str):
        made = registry.find("strategies", chosen)
        return cast(Strategy, made(prompts_per_step=prompts_per_step, seed=seed))
    if not isinstance(chosen, Strategy):
        raise ArgumentError(
            "strategy must be a name or an object with in_order, ask and tell, got "
            f"{type(chosen).__name__}."
        )
    # One that remembers what it was told belongs to one search.
    return deepcopy(chosen)
