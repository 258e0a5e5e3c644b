"""What a report shows of single images: who became right or wrong, and what is confused."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import dspy

from ipo_dspy.images.examples import image_of, label_of
from ipo_dspy.images.image import ImageSource
from ipo_dspy.images.shown import thumbnail
from ipo_dspy.scoring.comparison import Comparison

MOST_SHOWN = 12
"""Most images of a kind in a report; with their size they bound its own."""
_MOST_PAIRS = 10
_LONGEST_TEXT = 300
"""Characters."""


class Shown(NamedTuple):
    """One example: a picture as a `data:` address, or its inputs as text, and its labels."""

    picture: str
    text: str
    label: str
    before: str
    after: str


class Change(NamedTuple):
    """Examples of one kind that a report shows, and how many there are in all.

    `is_better` tells that the found prompt gets them right.
    """

    title: str
    is_better: bool
    total: int
    shown: list[Shown]


class Confusion(NamedTuple):
    """How often one class is taken for another, by the found prompt and by the first one."""

    label: str
    guess: str
    after: int
    before: int


def changes(comparison: Comparison, most: int = MOST_SHOWN) -> list[Change]:
    """Show examples that the found prompt gets right and the first one did not, and the reverse.

    Nothing where the examples or what was found for them is not known.

    Args:
        comparison: of the two prompts.
        most: how many to show of each kind.
    """
    before, after = comparison.before, comparison.after
    if not comparison.examples or not before.guesses or not after.guesses:
        return []
    rows = list(
        zip(
            comparison.examples, before.hits, after.hits, before.guesses, after.guesses, strict=True
        )
    )
    found = []
    for title, wanted in (
        ("Right with the found prompt, wrong with the first", (False, True)),
        ("Right with the first prompt, wrong with the found", (True, False)),
    ):
        of_kind = [
            (example, first, second)
            for example, was, now, first, second in rows
            if (was, now) == wanted
        ]
        some = islice(_one_of_each(of_kind), most)
        found.append(Change(title, wanted[1], len(of_kind), [_shown(*each) for each in some]))
    return found


def _one_of_each(
    rows: Iterable[tuple[dspy.Example, str, str]],
) -> Iterator[tuple[dspy.Example, str, str]]:
    """In turn one of each class, so that few show many."""
    classes: dict[str, list[tuple[dspy.Example, str, str]]] = defaultdict(list)
    for row in rows:
        classes[label_text(row[0])].append(row)
    for place in range(max(map(len, classes.values()), default=0)):
        for group in classes.values():
            if place < len(group):
                yield group[place]


def confusions(comparison: Comparison) -> list[Confusion]:
    """Count what is taken for what, the most frequent first."""
    labels = [label_text(example) for example in comparison.examples]
    if not labels or not comparison.after.guesses:
        return []
    before = Counter(zip(labels, comparison.before.guesses, strict=False))
    pairs = zip(labels, comparison.after.guesses, comparison.after.hits, strict=True)
    wrong = Counter((label, guess) for label, guess, hit in pairs if not hit)
    return [
        Confusion(label, guess, count, before[label, guess])
        for (label, guess), count in sorted(wrong.items(), key=lambda item: (-item[1], item[0]))
    ][:_MOST_PAIRS]


class Described(NamedTuple):
    """A picture as a `data:` address, and what the prompt model was told of it."""

    picture: str
    text: str


def described(images: Sequence[ImageSource], texts: Sequence[str]) -> list[Described]:
    """Show images with their descriptions, evenly spread over all."""
    pairs = list(zip(images, texts, strict=False))
    step = max(1, -(-len(pairs) // MOST_SHOWN))
    return [Described(thumbnail(image), text[:_LONGEST_TEXT]) for image, text in pairs[::step]]


def label_text(example: dspy.Example) -> str:
    """What an example is labelled with: its label, or else its last field that is no input."""
    label = label_of(example, "label")
    if label is None:
        outputs = [value for key, value in example.labels().items()]
        label = outputs[-1] if outputs else ""
    return str(label)


def _shown(example: dspy.Example, before: str, after: str) -> Shown:
    image = image_of(example)
    picture = "" if image is None else thumbnail(image)
    text = "" if picture else "; ".join(f"{k}: {v}" for k, v in example.inputs().items())
    return Shown(
        picture,
        text[:_LONGEST_TEXT],
        label_text(example)[:_LONGEST_TEXT],
        before[:_LONGEST_TEXT],
        after[:_LONGEST_TEXT],
    )
