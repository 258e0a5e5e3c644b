"""Searches whose scorer knows the best words, with a prompt model that always says the same."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
import pytest

from ipo_dspy.prompts.drafts import content_words
from ipo_dspy.prompts.rules import InstructionRules, TemplateRules
from ipo_dspy.prompts.template import Template
from ipo_dspy.prompts.wording import MetaPrompt
from ipo_dspy.proposing.prompt_model import PromptModel
from ipo_dspy.records import Score, State, Trial
from ipo_dspy.runs.budget import Budget
from ipo_dspy.runs.journal import NoJournal
from ipo_dspy.search.engine import Search, Settings
from ipo_dspy.search.strategies.evolve import Evolve
from ipo_dspy.search.target import Target
from ipo_dspy.testing import scripted_lm

DEFAULT = "a photo of a <CLASS>."
DESCRIPTIONS = ["Words that fit: chalk drawing (9), on a blackboard (7), mosaic (3), at night (2)"]

WORTH = {"chalk": 30.0, "drawing": 10.0, "blackboard": 20.0, "night": -20.0}
"""In points, on top of 40."""


class Words:
    """The encoder's side of the rules: it counts words, and 20 fit."""

    context_length = 22

    def count_tokens(self, template: Template, classnames: Sequence[str]) -> int:
        return 2 + max(len(text.split()) for name in classnames for text in template.fill(name))


class WorthOfWords:
    """Knows what each word is worth, in points."""

    at_once = True

    def score(self, texts: Sequence[str]) -> list[Score]:
        points = [sum(WORTH.get(w, 0.0) for w in set(content_words(t))) for t in texts]
        return [Score(accuracy=40 + p, loss=1 - p / 100, n=24) for p in points]


class Echo(dspy.Module):
    """Answers every question with one text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text

    def forward(self, **inputs: object) -> dspy.Prediction:
        return dspy.Prediction(prompt=self.text)


class Kept(NoJournal):
    """Keeps events in memory."""

    def __init__(self, events: Sequence[dict[str, Any]] = ()) -> None:
        super().__init__()
        self.kept = self.events = list(events)

    def append(self, event: Mapping[str, Any]) -> None:
        self.kept.append(dict(event))


def search(
    answer: str = DEFAULT,
    *,
    steps: int = 6,
    seed: int = 0,
    mixed_in: float = 0.5,
    calls: int = 100,
    log: NoJournal | None = None,
) -> Search:
    rules = TemplateRules(Words(), ["cat", "dog"])
    target = Target("only", dspy.Predict("a -> b"), rules, MetaPrompt(), WorthOfWords())
    target.use(DEFAULT)
    made = Search(
        [target],
        PromptModel(scripted_lm(["unused"]), Echo(answer), temperature=1.0, seed=seed),
        Evolve(4, seed, mixed_in),
        Settings(DESCRIPTIONS, 4, 20, 1, Budget(steps=steps, calls=calls), 10),
        log or NoJournal(),
        lambda trial, spent: None,
    )
    made.run()
    return made


def edits(found: Search) -> list[Trial]:
    return [trial for trial in found.trials if trial.edited]


def test_one_in_three_is_an_edit_and_none_costs_a_call() -> None:
    found = search(steps=6)
    assert found.spent.calls == 24
    assert len(edits(found)) == 12
    assert {trial.step for trial in edits(found)} == set(range(1, 7))


def test_edits_follow_the_last_answers_that_the_budget_allows() -> None:
    found = search(steps=2, calls=8)
    assert found.spent.calls == 8
    assert found.trials[-1].edited
    assert found.trials[-1].step == 2


def test_edits_are_new_and_keep_the_rules() -> None:
    found = search(steps=12)
    assert all(trial.state is State.OK for trial in edits(found))
    texts = [trial.text.lower() for trial in edits(found)]
    assert len(set(texts)) == len(texts)


def test_edits_climb_by_the_history_and_the_descriptions() -> None:
    bests = [search(steps=12, seed=seed).best for seed in range(4)]
    assert min(best.score.accuracy for best in bests if best.score) >= 70


def test_another_seed_makes_other_edits() -> None:
    assert [t.text for t in edits(search(seed=1))] == [t.text for t in edits(search(seed=1))]
    assert [t.text for t in edits(search(seed=1))] != [t.text for t in edits(search(seed=2))]


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["an icon of a <CLASS>.", "I cannot do that."])
def test_a_search_that_was_stopped_anywhere_ends_as_if_it_never_had_been(answer: str) -> None:
    log = Kept()
    whole = search(answer, steps=4, calls=12, log=log).trials
    for cut in range(len(log.kept)):
        again = search(answer, steps=4, calls=12, log=Kept(log.kept[:cut]))
        assert again.trials == whole


def test_without_edits_it_asks_as_steps_does() -> None:
    assert not edits(search(mixed_in=0))


def test_where_answers_are_refused_it_goes_on_alone_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "ipo_dspy"):
        found = search("I cannot do that.", steps=20)
    assert found.spent.calls == 8
    assert found.best.edited
    assert found.trials[-1].step == 20
    assert sum("alone" in record.getMessage() for record in caplog.records) == 1


def test_instructions_of_language_models_are_not_edited() -> None:
    class Lengths(WorthOfWords):
        def score(self, texts: Sequence[str]) -> list[Score]:
            return [Score(accuracy=50, loss=1 / len(text), n=4) for text in texts]

    target = Target("only", dspy.Predict("a -> b"), InstructionRules(), MetaPrompt(), Lengths())
    target.use("Answer the question.")
    asked = Search(
        [target],
        PromptModel(scripted_lm(["unused"]), Echo("Answer it."), temperature=1.0, seed=0),
        Evolve(4, 0),
        Settings([], 4, 20, 1, Budget(steps=2), 10),
        NoJournal(),
        lambda trial, spent: None,
    )
    asked.run()
    assert len(asked.trials) == 9
    assert not edits(asked)
