"""What an optimizer has to beat: no search at all, and searches that learn nothing."""

from __future__ import annotations

import random

import open_clip

from benchmarks.teleprompters.contestants import Contest, Run
from ipo_dspy.prompts.evidence import NOTHING_KNOWN
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE, SLOT
from ipo_dspy.prompts.writing import TemplateWriter

_WAFFLE_WORDS = 2
_SYLLABLES = ("ba", "ke", "li", "mo", "nu", "pra", "ste", "tri", "vo", "wex", "yal", "zin")


def random_search(contest: Contest) -> None:
    """As many templates as calls, drawn from the offline proposer's grammar and vocabulary.

    It sees neither scores nor images, and every word is equally likely.
    """
    writer = TemplateWriter([], NOTHING_KNOWN, random.Random(contest.seed))
    tried: set[str] = set()
    while not contest.meter.is_spent:
        text = writer.write(tried.__contains__)
        tried.add(text)
        contest.meter.calls += 1
        contest.meter.note(text)


def random_words(contest: Contest) -> None:
    """As many templates as calls, made of random words as WaffleCLIP's are (Roth et al., 2023).

    Half of the words mean nothing, half come from ImageNet's class names.
    """
    chance = random.Random(contest.seed)
    words = [word for name in open_clip.IMAGENET_CLASSNAMES for word in name.split()]
    while not contest.meter.is_spent:
        real = [chance.choice(words) for _ in range(_WAFFLE_WORDS)]
        made_up = ["".join(chance.choices(_SYLLABLES, k=2)) for _ in range(_WAFFLE_WORDS)]
        contest.meter.calls += 1
        contest.meter.note(f"a photo of a {SLOT}, which has {' '.join(made_up)}, {' '.join(real)}.")


CONTROLS: dict[str, Run] = {"random search": random_search, "random words": random_words}
"""Name to search without learning, in the order of the table."""

FIXED_TEXTS: dict[str, str] = {
    "default prompt": DEFAULT_TEMPLATE.text,
    "80-template ensemble": "\n".join(make(SLOT) for make in open_clip.OPENAI_IMAGENET_TEMPLATES),
}
"""Name to text that is used without a search; the ensemble is CLIP's own for ImageNet."""
