"""What makes a text a candidate, and what is taken off an answer before the rules apply."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ipo_dspy.errors import InvalidTemplateError, RefusedError
from ipo_dspy.prompts.template import Template
from ipo_dspy.prompts.wording import token_limit
from ipo_dspy.records import hidden_character


class TokenCounter(Protocol):
    """What knows how long a text an encoder takes."""

    @property
    def context_length(self) -> int:
        """Most tokens a text may have, start and end included."""

    def count_tokens(self, template: Template, classnames: Sequence[str]) -> int:
        """Count the tokens of the longest text that a template gives, start and end included."""


class Rules(Protocol):
    """What makes a text a valid candidate."""

    @property
    def limit(self) -> str:
        """How long a text may be, in words for the prompt model; may be empty."""

    def read(self, reply: str) -> str:
        """Take the text out of a reply of the prompt model."""

    def check(self, text: str) -> str:
        """Give the text in its normal form.

        Raises:
            RefusedError: the text breaks a rule.
        """


@dataclass(frozen=True)
class TemplateRules:
    """A candidate is one line with `<CLASS>` once that fits the encoder with every class name."""

    token_counter: TokenCounter
    classnames: Sequence[str]
    limit: str = field(init=False)

    def __post_init__(self) -> None:
        longest = self.token_counter.count_tokens(Template("<CLASS>"), self.classnames)
        room = self.token_counter.context_length - longest
        object.__setattr__(self, "limit", token_limit(max(room, 0)))

    def read(self, reply: str) -> str:
        """Take off what language models put around a template; see `clean`."""
        return clean(reply)

    def check(self, text: str) -> str:
        """Normalise slot spellings and apply the rules; see `Rules.check`."""
        line = _one_line(text)
        try:
            template = Template(line)
        except InvalidTemplateError as error:
            raise RefusedError(str(error)) from error
        tokens = self.token_counter.count_tokens(template, self.classnames)
        if tokens > self.token_counter.context_length:
            raise RefusedError(
                f"it has {tokens} tokens with the longest class name filled in, and the encoder "
                f"takes at most {self.token_counter.context_length}"
            )
        return template.text


@dataclass(frozen=True)
class InstructionRules:
    """A candidate is any visible text that is not empty and keeps DSPy's own markers out.

    Quotes, tags, fences and lead-ins may be meant, so nothing is taken off.
    """

    limit: str = ""

    def read(self, reply: str) -> str:
        """Take the reply as it is."""
        return reply

    def check(self, text: str) -> str:
        """Apply the rules; see `Rules.check`."""
        if not text.strip():
            raise RefusedError("it is empty")
        if match := _MARKER.search(text):
            raise RefusedError(f"it has a left-over {match[0]!r}")
        _refuse_hidden(text.replace("\r\n", "\n"))
        return text


_MARKER = re.compile(r"\[\[ ##|## \]\]")
_FENCE = re.compile(r"\A```(?:[\w-]*\n)?(.*?)\n?```\Z", re.DOTALL)
_TAGS = re.compile(r"\A<(INS|prompt|answer)>(.*?)</\1>\Z", re.DOTALL | re.IGNORECASE)
_THINKING = re.compile(r"\A<think>.*?</think>", re.DOTALL | re.IGNORECASE)
# A lead-in ends at a colon before anything that may be part of the prompt, or at its line's end.
_TO_COLON = r"""(?:[^:\n"“«`<{\[]*:|[^\n]*:[ \t]*\n)"""
_LEAD = re.compile(
    rf"\A(?:(?:sure|certainly|of course)\b(?:{_TO_COLON}|[!,.]*)"
    rf"|here(?:['’]s| is| are)\b{_TO_COLON}"
    r"|(?:(?:the|my|a) )?(?:new |improved |final )*(?:prompt|template|answer)\s*:)\s*",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "«": "»", "`": "`"}
_LEFT_OVER = re.compile(r"</?INS>|\[\[ ##|## \]\]|```|</?(?:prompt|answer|think)>", re.IGNORECASE)


def clean(reply: str) -> str:
    """Take off what language models put around a prompt.

    That is thinking aloud, lead-ins, tags, code fences, quotes and `**`, in any order.
    """
    text = reply.strip()
    while (bare := _unwrapped(text)) != text:
        text = bare
    return text


def _unwrapped(text: str) -> str:
    # Each pass takes off one layer at most, so that layers may come in any order.
    if match := _FENCE.match(text):
        return match[1].strip()
    if match := _TAGS.match(text):
        return match[2].strip()
    if match := _THINKING.match(text) or _LEAD.match(text):
        return text[match.end() :].strip()
    for mark in ("**", "__"):
        if text.startswith(mark) and text.endswith(mark) and len(text) > 2 * len(mark):
            return text[len(mark) : -len(mark)].strip()
    if len(text) > 2 and _QUOTES.get(text[0]) == text[-1]:
        inner = text[1:-1]
        # An apostrophe within a word is no quote.
        if text[0] not in re.sub(r"\b'\b", "", inner):
            return inner.strip()
    return text.replace("**", "").strip()


def _without_left_overs(text: str) -> str:
    if not text.strip():
        raise RefusedError("it is empty")
    if match := _LEFT_OVER.search(text):
        raise RefusedError(f"it has a left-over {match[0]!r}")
    return text.strip()


def _one_line(text: str) -> str:
    text = _without_left_overs(text)
    if len(text.splitlines()) > 1:
        raise RefusedError("it has more than one line")
    _refuse_hidden(text)
    return text


def _refuse_hidden(text: str) -> None:
    if (hidden := hidden_character(text)) is not None:
        raise RefusedError(f"it has the hidden character {hidden!a}")
