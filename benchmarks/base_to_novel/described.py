"""Texts for each class as others make them: CuPL, DCLIP, and WaffleCLIP's control.

The language models of their papers are gone (text-davinci), so any model of DSPy answers, through
DSPy's format; questions, numbers, temperature, bounds and the way of averaging are those of their
recipes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from string import ascii_letters
from typing import TYPE_CHECKING

import dspy
import open_clip

from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.task import Task
from ipo_dspy.programs.prompt import FixedFeatures
from ipo_dspy.prompts.class_texts import read_descriptions
from ipo_dspy.records import Record
from ipo_dspy.runs.calls import Calls

if TYPE_CHECKING:
    from torch import Tensor

CUPL, DCLIP, WAFFLE = "CuPL", "DCLIP", "WaffleCLIP"
DESCRIBED = (CUPL, DCLIP, WAFFLE)
"""The rows, in order."""

CUPL_QUESTIONS = (
    "Describe what {article} {name} looks like",
    "How can you identify {article} {name}?",
    "What does {article} {name} look like?",
    "Describe an image from the internet of {article} {name}",
    "A caption of an image of {article} {name}:",
)
"""Pratt et al., ICCV 2023: the questions for ImageNet's classes."""
CUPL_ANSWERS, CUPL_TEMPERATURE, CUPL_TOKENS = 10, 0.99, 50
DCLIP_QUESTION = "What are useful visual features for distinguishing {article} {name} in a photo?"
"""Menon and Vondrick, ICLR 2023; they show answers for two other classes before."""
DCLIP_TEMPERATURE, DCLIP_TOKENS, _DCLIP_MOST = 0.0, 100, 20
WAFFLE_PAIRS, WAFFLE_REPETITIONS = 15, 7
"""Roth et al., ICCV 2023: pairs of random words and random letters, and draws to average over."""
_EXAMPLE = dspy.Example(
    class_name="windmill",
    question=DCLIP_QUESTION.format(article="a", name="windmill"),
    descriptions="- a tall tower\n- four long sails\n- a small door\n- a turning cap",
)


class AnswerAboutClass(dspy.Signature):
    """Answer the question."""

    class_name: str = dspy.InputField()
    question: str = dspy.InputField()
    descriptions: str = dspy.OutputField(desc="the answer alone")


class ListFeatures(AnswerAboutClass):
    """Answer the question with a list."""

    descriptions: str = dspy.OutputField(desc="one feature a line, each after `- `")


class Texts(Record):
    """Whole texts by class, one set for each repetition, and the calls that they took."""

    sets: tuple[dict[str, tuple[str, ...]], ...]
    calls: int = 0


@dataclass(frozen=True)
class WholeTexts(FixedFeatures):
    """A prompt of whole texts for each class, with no template.

    Attributes:
        texts: by class name.
        normalised: scale the mean of a class's features to unit length, as CuPL does; the mean of
            similarities, as in DCLIP and WaffleCLIP, is that without.
    """

    texts: Mapping[str, Sequence[str]]
    normalised: bool

    def class_features(self, embedder: Embedder, classnames: Sequence[str]) -> Tensor:
        """Average the unit features of each class's texts: [C, D]."""
        import torch

        texts = [self.texts[name] for name in classnames]
        if self.normalised:
            return embedder.class_features(texts)
        flat = embedder.class_features([[text] for of_class in texts for text in of_class])
        return torch.stack([part.mean(dim=0) for part in flat.split(list(map(len, texts)))])


def class_names(task: Task) -> list[str]:
    """All classes of a task, base and novel."""
    return list(
        dict.fromkeys(name for part in ("base", "novel") for name in task.tests[part].classnames)
    )


def make_texts(method: str, names: Sequence[str], lm: dspy.LM | None, num_threads: int) -> Texts:
    """Make the texts of a row.

    Args:
        method: one of `DESCRIBED`.
        names: of all classes.
        lm: is asked; WaffleCLIP asks none.
        num_threads: most calls at the same time.
    """
    if method == WAFFLE:
        return Texts(sets=tuple(waffle(names, seed) for seed in range(WAFFLE_REPETITIONS)))
    asking = {CUPL: _ask_cupl, DCLIP: _ask_dclip}[method]
    with dspy.context(lm=lm), Calls[tuple[str, ...]](num_threads) as calls:
        out = {name: calls.submit(partial(asking, name.replace("_", " "))) for name in names}
        waiting = set(out.values())
        while waiting:
            waiting -= set(calls.wait(waiting))
        texts = {name: one.result() for name, one in out.items()}
    each = len(CUPL_QUESTIONS) * CUPL_ANSWERS if method == CUPL else 1
    return Texts(sets=(texts,), calls=each * len(names))


def _ask_cupl(name: str) -> tuple[str, ...]:
    """Fifty sentences as they come, each up to its first full stop."""
    predict = dspy.Predict(AnswerAboutClass)
    sentences = []
    for question in CUPL_QUESTIONS:
        asked = question.format(article=_article(name), name=name)
        for number in range(CUPL_ANSWERS):
            settings = {
                "temperature": CUPL_TEMPERATURE,
                "max_tokens": _with_format(CUPL_TOKENS),
                "rollout_id": 1 + number,
            }
            answer = predict(class_name=name, question=asked, config=settings).descriptions
            sentences.append(f"{' '.join(answer.split()).partition('.')[0]}.")
    return tuple(sentences)


def _ask_dclip(name: str) -> tuple[str, ...]:
    """Features behind the class name; one without any stands alone."""
    predict = dspy.Predict(ListFeatures)
    settings = {"temperature": DCLIP_TEMPERATURE, "max_tokens": _with_format(DCLIP_TOKENS)}
    answer = predict(
        class_name=name,
        question=DCLIP_QUESTION.format(article=_article(name), name=name),
        demos=[_EXAMPLE],
        config=settings,
    ).descriptions
    features = read_descriptions(answer, _DCLIP_MOST)
    return tuple(f"{name}, {which(feature)}" for feature in features) or (name,)


def which(feature: str) -> str:
    """Make a clause of a feature, as DCLIP does."""
    # Every word that begins with an a counts as an article there.
    if feature.startswith(("a", "used")):
        return f"which is {feature}"
    if feature.startswith(("has", "often", "typically", "may", "can")):
        return f"which {feature}"
    return f"which has {feature}"


def waffle(names: Sequence[str], seed: int) -> dict[str, tuple[str, ...]]:
    """Random words and random letters, the same for all classes, as long as the class names are.

    The words come from ImageNet's class names, cut to the mean length of a word.
    """
    chance = random.Random(seed)
    spoken = [name.replace("_", " ").split() for name in names]
    words_each = max(1, round(fmean(map(len, spoken))))
    length = max(1, round(fmean(fmean(map(len, words)) for words in spoken)))
    letters = math.ceil(fmean(max(map(len, words)) for words in spoken))
    letters += words_each - letters % words_each
    known = [word[:length] for name in open_clip.IMAGENET_CLASSNAMES for word in name.split()]
    said = []
    for _ in range(WAFFLE_PAIRS):
        said.append(" ".join(chance.choice(known) for _ in range(words_each)))
        parts = (chance.choices(ascii_letters, k=letters // words_each) for _ in range(words_each))
        said.append(", ".join(map("".join, parts)))
    return {
        name: tuple(f"A photo of a {name.replace('_', ' ')}, {which(text)}." for text in said)
        for name in names
    }


def prompts_of(method: str, texts: Texts) -> list[WholeTexts]:
    """The prompts that a row averages over."""
    return [WholeTexts(each, normalised=method == CUPL) for each in texts.sets]


def _with_format(tokens: int) -> int:
    # DSPy's format around an answer takes some too.
    return tokens + 50


def _article(name: str) -> str:
    return "an" if name[:1].lower() in "aeiou" else "a"
