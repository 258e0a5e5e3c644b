"""How a search went: the course of its scores, and which words came from which."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from ipo_dspy.records import Trial
from ipo_dspy.search.results import IPOResults

MOST_DOTS = 2_000
"""Most prompts that a curve shows as dots."""
MOST_BESTS = 30
"""Most successive bests whose changes are shown, the last ones."""
LONGEST = 2_000
"""Characters of a prompt that are compared and shown; comparing takes time by the square."""
_WIDTH, _HEIGHT = 640.0, 180.0


class Curve(NamedTuple):
    """A training score over the steps, in the units of an SVG view box.

    `dots` are the scored prompts, or some of very many, `line` the points of the best prompt so
    far; `lowest` and `highest` are the values at the lower and the upper edge.
    """

    name: str
    dots: list[tuple[float, float]]
    line: str
    lowest: float
    highest: float
    last_step: int
    width: float = _WIDTH
    height: float = _HEIGHT


def curve(results: IPOResults, name: Literal["accuracy", "loss"]) -> Curve:
    """Lay out a training score over the steps; the loss is the one that ranks."""

    def points(trials: Sequence[Trial]) -> list[tuple[float, float]]:
        return [
            (trial.step, score.accuracy if name == "accuracy" else results.ranking.loss(score))
            for trial in trials
            if (score := trial.score) is not None
        ]

    values, best = points(results.trials), points(bests(results))
    last = max(trial.step for trial in results.trials)
    lowest, highest = min(value for _, value in values), max(value for _, value in values)
    span = (highest - lowest) or 1.0

    def place(step: float, value: float) -> tuple[float, float]:
        x = _WIDTH * step / max(last, 1)
        return round(x, 1), round(_HEIGHT * (1 - (value - lowest) / span), 1)

    # A dot that lies on another one tells nothing.
    dots = sorted({place(*point) for point in values})
    corners: list[tuple[float, float]] = []
    for number, (step, value) in enumerate(best):
        if number:
            corners.append(place(step, best[number - 1][1]))
        corners.append(place(step, value))
    corners.append(place(last, best[-1][1]))
    return Curve(
        name,
        dots[:: -(-len(dots) // MOST_DOTS)],
        " ".join(f"{x},{y}" for x, y in corners),
        lowest,
        highest,
        last,
    )


def bests(results: IPOResults) -> list[Trial]:
    """Pick the trials that were better than all before them, in the order they were made."""
    found: list[Trial] = []
    key = results.ranking.key
    for trial in results.trials:
        if trial.score is not None and (not found or key(trial) > key(found[-1])):
            found.append(trial)
    return found


Change = Literal["same", "new", "gone"]


def lineage(results: IPOResults) -> list[tuple[Trial, list[tuple[Change, str]]]]:
    """Pair each successive best with its words, compared with those of the best before it."""
    line = bests(results)[-MOST_BESTS:]
    texts = [trial.text for trial in line]
    return [
        (trial, word_changes(before, trial.text))
        for trial, before in zip(line, [texts[0], *texts], strict=False)
    ]


def word_changes(before: str, after: str) -> list[tuple[Change, str]]:
    """Compare two texts word by word: runs of words that stayed, came or went.

    Of long texts, only the first `LONGEST` characters.
    """
    old, new = before[:LONGEST].split(), after[:LONGEST].split()
    changes: list[tuple[Change, str]] = []
    matcher = SequenceMatcher(a=old, b=new, autojunk=False)
    for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if kind == "equal":
            changes.append(("same", " ".join(new[new_from:new_to])))
            continue
        if old_to > old_from:
            changes.append(("gone", " ".join(old[old_from:old_to])))
        if new_to > new_from:
            changes.append(("new", " ".join(new[new_from:new_to])))
    return changes


class Ranked(NamedTuple):
    """A scored prompt and its words compared with those of its parent; best first."""

    place: int
    trial: Trial
    changes: list[tuple[Change, str]]


def ranked(results: IPOResults, most: int) -> list[Ranked]:
    """Rank prompts, each beside the earlier one that shares most of its words, its parent.

    Args:
        results: of a search.
        most: how many to give.
    """
    scored = [trial for trial in results.trials if trial.score is not None]
    key = results.ranking.key
    order = sorted(range(len(scored)), key=lambda i: key(scored[i]), reverse=True)[:most]
    words = [set(trial.text.lower().split()) for trial in scored]
    rows = []
    for place, number in enumerate(order, start=1):
        trial = scored[number]
        # The first prompts have no parent; of equals the latest is the likelier one.
        parent = max(range(number), key=lambda i: (_shared(words[i], words[number]), i), default=-1)
        before = trial.text if parent < 0 else scored[parent].text
        rows.append(Ranked(place, trial, word_changes(before, trial.text)))
    return rows


def _shared(some: set[str], others: set[str]) -> float:
    return len(some & others) / max(1, len(some | others))
