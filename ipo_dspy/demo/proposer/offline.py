"""The offline proposer: an engine that is no language model, for runs without key and network."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Self

import dspy
from dspy.lm15 import Request, Response

from ipo_dspy.demo.proposer.evidence import descriptions, earlier_prompts
from ipo_dspy.demo.proposer.glossary import FACETS, describe, knows_how
from ipo_dspy.errors.arguments import checked
from ipo_dspy.prompts.drafts import MOST_WORDS
from ipo_dspy.prompts.evidence import Evidence
from ipo_dspy.prompts.template import SLOT
from ipo_dspy.prompts.writing import TemplateWriter
from ipo_dspy.proposing.engine import LocalEngine, answer, texts, turns
from ipo_dspy.proposing.reading import Asked, OutputField, listed_names, value_for
from ipo_dspy.proposing.seeds import Seeds

NEUTRAL = "The offline proposer is no language model and has nothing to say here."
"""What every text field gets that is no prompt."""

_PROMPT_NAME = re.compile(r"instruction|prompt|template|rules|advice", re.IGNORECASE)
_PROMPT_DESCRIPTION = re.compile(
    r"\b(?:new|improved|proposed|better) (?:instruction|prompt|template)", re.IGNORECASE
)
_LIMIT = re.compile(r"at most (\d+) tokens")
_LIMIT_IN_WORDS = re.compile(r"about (\d+) words or (\d+) characters")
_WORDS_PER_TOKEN = 0.75
_FACETS = tuple(f"Name its {facet}." for facet in FACETS)
_ABOUT_CLASSES = re.compile(r"\b(?:class_name|pictures of a class|describe a class)\b")
_GUIDANCE = (
    "Read every input before answering.",
    "Use only what the inputs say.",
    "Answer briefly.",
    "Answer with a single word or phrase where that is enough.",
    "Give the answer alone, without an explanation.",
    "Think step by step before answering.",
    "Check the answer against the inputs before giving it.",
    "Keep to the requested format exactly.",
    "Use the wording of the inputs where possible.",
    "Consider each possible answer and choose the one that fits best.",
    "If the inputs leave room for doubt, choose the most likely answer.",
    "Pay attention to details, numbers and negations.",
)


class OfflineProposer(LocalEngine):
    """Proposes prompts by editing, crossing and extending those it reads in a request.

    It is no language model: it knows a vocabulary of visual words (`ipo_dspy.prompts.vocabulary`)
    and a small grammar. It reads the scored history, the image descriptions and the limits in a
    request, prefers words that descriptions name and that good prompts share, and answers in the
    format the request asks for, DSPy's ChatAdapter or JSONAdapter. Where no template with `<CLASS>`
    is in sight, it adds and removes general sentences in the instruction that it reads. Fields that
    are no prompt get a neutral sentence or the smallest valid value. Classes are described from a
    glossary of the demo's, in the facets that the instruction names, and others with `none`.

    With a seed in the request, the answer is a function of the texts and the seed alone. Without
    one, equal requests get different answers: the n-th one is a function of the texts and n.

    Usage counts the words between blanks, of the request and of the answer, as tokens.
    """

    def __init__(self) -> None:
        self._seeds = Seeds()

    def complete(self, request: Request) -> Response:
        """Answer one request; images in it are not looked at, but count as part of its text."""
        conversation = turns(request)
        said = {role: texts(conversation, role) for role in ("system", "user", "assistant")}
        asked = Asked.read("\n".join(said["system"]), said["user"][-1] if said["user"] else "")
        text = _reply(asked, random.Random(self._seeds.number(request, conversation)))
        words_read = sum(len(turn.split()) for spoken in said.values() for turn in spoken)
        return answer(request, text, input_tokens=words_read, output_tokens=len(text.split()))

    def close(self) -> None:
        """Do nothing: nothing is held."""

    def dump_state(self) -> dict[str, Any]:
        """Give the settings; there are none."""
        return {}

    @classmethod
    def load_state(cls, state: dict[str, Any]) -> Self:
        """Make the engine that `dump_state` described."""
        return cls()


@checked
def offline_lm() -> dspy.LM:
    """Make a `dspy.LM` of the offline proposer; DSPy's cache is off, as answers cost nothing."""
    return dspy.LM("offline/proposer", engine=OfflineProposer(), cache=False, temperature=1.0)


def _reply(asked: Asked, chance: random.Random) -> str:
    propose = _proposer(asked, chance)
    if not asked.fields:
        return f"```\n{propose()}\n```" if "```" in asked.text else propose()
    return asked.write({f.name: _value(f, asked, propose, chance) for f in asked.fields})


def _value(
    field: OutputField, asked: Asked, propose: Callable[[], str], chance: random.Random
) -> Any:
    if "prefix" in field.name:
        return "Label:"
    if field.name == "descriptions" and knows_how(asked):
        return value_for(field.note, lambda: describe(asked), chance)
    if not (_PROMPT_NAME.search(field.name) or _PROMPT_DESCRIPTION.search(field.description)):
        return value_for(field.note, lambda: NEUTRAL, chance)
    value = value_for(field.note, propose, chance)
    if value == {}:
        return {name: propose() for name in listed_names(asked.inputs.get("module_names", ""))}
    return value


def _proposer(asked: Asked, chance: random.Random) -> Callable[[], str]:
    """Choose between templates, where one is in sight, and instructions."""
    prompts = earlier_prompts(asked)
    if not any(SLOT in text for text in prompts or [asked.text]):
        sentences = _FACETS if _ABOUT_CLASSES.search(asked.text) else _GUIDANCE
        return lambda: _instruction(prompts, sentences, chance)
    writer = TemplateWriter(prompts, Evidence.of(descriptions(asked), prompts), chance)
    most_words, most_characters = _limits(asked.text)

    def is_refused(text: str) -> bool:
        return text in asked.text or len(text.replace(SLOT, "")) > most_characters

    return lambda: writer.write(is_refused, min(most_words, MOST_WORDS))


def _limits(request: str) -> tuple[int, float]:
    """How many words, the class name among them, and characters beside it a request allows."""
    if limits := _LIMIT_IN_WORDS.search(request):
        return int(limits[1]) + 1, int(limits[2])
    tokens = _LIMIT.search(request)
    return int(int(tokens[1]) * _WORDS_PER_TOKEN) if tokens else MOST_WORDS, math.inf


def _instruction(prompts: list[str], sentences: Sequence[str], chance: random.Random) -> str:
    """Add a general sentence to an earlier instruction, or take one away."""
    best = prompts[-5:]
    text = chance.choice(best) if best else "Produce the output fields from the input fields."
    used = [sentence for sentence in sentences if sentence in text]
    if used and chance.random() < 0.5:
        gone = chance.choice(used)
        text = text.replace(gone, "").replace("  ", " ").strip()
    unused = [sentence for sentence in sentences if sentence not in text]
    return f"{text} {chance.choice(unused)}" if unused and text else text or sentences[0]
