"""What makes a text a candidate, and what is taken off an answer before the rules apply."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ipo_dspy.errors import InvalidTemplateError, RefusedError
from ipo_dspy.prompts.template import SLOT, Template
from ipo_dspy.prompts.wording import token_limit
from ipo_dspy.records import hidden_name

SLOT_FREE_SAMPLE = "rough pencil sketch on white paper, seen from the side, with grey lines"
"""What the tokens of a word are measured on."""
_START_AND_END = 2


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
        """Give a proposal in its normal form.

        Raises:
            RefusedError: the text breaks a rule.
        """

    def form(self, text: str) -> str:
        """Give a text of the user's own in its normal form; its words are the user's business.

        Raises:
            RefusedError: the text is not of the right form.
        """


@dataclass(frozen=True)
class TemplateRules:
    """A candidate is one line with `<CLASS>` once that fits the encoder with every class name."""

    token_counter: TokenCounter
    classnames: Sequence[str]
    limit: str = field(init=False)
    _names: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = self.token_counter.count_tokens
        longest = count(Template(SLOT), self.classnames)
        room = self.token_counter.context_length - longest
        frame = count(Template(f"{SLOT} {SLOT_FREE_SAMPLE}"), self.classnames) - longest
        per_word = frame / len(SLOT_FREE_SAMPLE.split())
        limit = token_limit(max(room, 0), longest - _START_AND_END, per_word)
        object.__setattr__(self, "limit", limit)
        names = [re.escape(name.replace("_", " ")) for name in self.classnames if len(name) > 2]
        pattern = rf"(?<!\w)(?:{'|'.join(names)})(?!\w)" if names else r"(?!)"
        object.__setattr__(self, "_names", re.compile(pattern, re.IGNORECASE))

    def read(self, reply: str) -> str:
        """Take off what language models put around a template; see `clean`."""
        return clean(reply)

    def check(self, text: str) -> str:
        """Normalise slot spellings and apply the rules; see `Rules.check`."""
        template = self.form(text)
        _refuse_what_is_no_caption(template)
        if match := self._names.search(template.replace(SLOT, " ")):
            raise RefusedError(f"it names the class {match[0]!r}, but has to fit all classes")
        return template

    def form(self, text: str) -> str:
        """Normalise slot spellings and make sure it fits; see `Rules.form`."""
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

    def form(self, text: str) -> str:
        """Apply the rules; see `Rules.form`."""
        return self.check(text)


_MARKER = re.compile(r"\[\[ ##|## \]\]")
_FENCE = re.compile(r"\A```(?:[\w-]*\n)?(.*?)\n?```\Z", re.DOTALL)
_TAGS = re.compile(r"\A<(INS|prompt|answer)>(.*?)</\1>\Z", re.DOTALL | re.IGNORECASE)
_REASONING = r"(?:think(?:ing)?|thoughts?|reasoning|reflection|analysis|scratchpad)"
_OPENED = re.compile(rf"(?:<{_REASONING}>|\[THINK\]|◁think▷)", re.IGNORECASE)
_CLOSED = re.compile(rf"(?:</{_REASONING}>|\[/THINK\]|◁/think▷)", re.IGNORECASE)
_CHANNEL = "<|message|>"
_END_OF_TURN = re.compile(r"(?:\s*(?:<\|\w+\|>|</s>|<eos>|<end_of_turn>))+\Z")
_BOXED = re.compile(r"\A\\(?:boxed|text)\{(.*)\}\Z", re.DOTALL)
_FORMULA = re.compile(r"\A\$+([^$]*)\$+\Z")
_LIST_MARK = re.compile(
    r"\A(?:[-*•>]|#{1,6}|\(?(?:\d{1,2}|[A-Za-z])\)|\d{1,2}[.:])[ \t]+(?=[^\n]+\Z)"
)
_EXPLAINED = re.compile(
    r"""\A(?:"([^"\n]*<CLASS>[^"\n]*)"|“([^”\n]*<CLASS>[^”\n]*)”|`([^`\n]*<CLASS>[^`\n]*)`)"""
    r"\s*(?:[-–—:(.]|\n)"
)
# A lead-in ends at a colon before anything that may be part of the prompt, or at its line's end.
_TO_COLON = r"""(?:[^:\n"“«`<{\[]*:|[^\n]*:[ \t]*\n)"""
_LEAD = re.compile(
    rf"\A(?:(?:sure|certainly|of course)\b(?:{_TO_COLON}|[!,.]*)"
    rf"|here(?:['’]s| is| are)\b{_TO_COLON}"
    r"|\[/INST\]"
    r"|(?:(?:the|my|a) )?(?:new |improved |final )*"
    r"(?:prompt|template|answer|option|candidate|caption|proposal|suggestion|version)"
    r"(?:[ #]+(?:\d{1,2}|[a-z]))?\s*:)\s*",
    re.IGNORECASE,
)
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "„": "“", "`": "`"}
_QUOTES |= {"«": "»", "‹": "›", "「": "」", "『": "』"}
_LEFT_OVER = re.compile(
    rf"</?INS>|\[\[ ##|## \]\]|```|</?(?:prompt|answer|{_REASONING})>|\[/?(?:THINK|INST)\]|◁/?\w+▷"
    r"|<\|\w+\|>|\A\{\s*\"|\A\[\s*\"",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?\w[^<>]*>")
_META_WORD = re.compile(r"\b(?:scores?|accurac(?:y|ies)|prompts?)\b|\bINS\b", re.IGNORECASE)
_CUT_OFF = re.compile(
    r"(?:[,;:(\[{–—-]|\.\.\.|…|\b(?:an?|the|of|and|or|to|with|from|by|as|that|which|is|are))\Z",
    re.IGNORECASE,
)
_JOINERS = "\u200c\u200d"
"""Invisible, but part of how some scripts are written."""


def without_reasoning(reply: str) -> str:
    """Take off what a model thought before it answered, and the marks at the end of its turn.

    Tags of several models are known, also where only the closing one was sent. A tag that is
    opened and closed within the answer stays.
    """
    text = _END_OF_TURN.sub("", reply)
    text = text.rpartition(_CHANNEL)[2] if text.lstrip().startswith("<|") else text
    while closed := _CLOSED.search(text):
        opened = _OPENED.search(text, 0, closed.start())
        if opened and text[: opened.start()].strip():
            break
        text = text[closed.end() :]
    return text


def clean(reply: str) -> str:
    """Take off what language models put around a prompt.

    That is reasoning, lead-ins, tags, code fences, JSON, list marks, quotes with or without an
    explanation behind them, and `**`, in any order.
    """
    text = reply.strip()
    while (bare := _unwrapped(text)) != text:
        text = bare
    return text


def _unwrapped(text: str) -> str:
    # Each pass takes off one layer at most, so that layers may come in any order.
    if (answer := without_reasoning(text).strip()) != text:
        return answer
    if (value := _of_json(text)) is not None:
        return value.strip()
    for pattern in (_FENCE, _TAGS, _FORMULA, _BOXED, _EXPLAINED):
        if match := pattern.match(text):
            return str(match[match.lastindex or 0]).strip()
    for pattern in (_LEAD, _LIST_MARK):
        if match := pattern.match(text):
            return text[match.end() :].strip()
    return _without_quotes(text)


def _without_quotes(text: str) -> str:
    for mark in ("**", "__"):
        if text.startswith(mark) and text.endswith(mark) and len(text) > 2 * len(mark):
            return text[len(mark) : -len(mark)].strip()
    if len(text) > 2 and _QUOTES.get(text[0]) == text[-1]:
        inner = text[1:-1]
        # An apostrophe within a word is no quote.
        if text[0] not in re.sub(r"\b'\b", "", inner):
            return inner.strip()
    return text.replace("**", "").strip()


def _of_json(text: str) -> str | None:
    """The text of a JSON object or list that holds one, or one with the class name."""
    if text[:1] not in "{[" or text[-1:] not in "}]":
        return None
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return None
    values = list(found.values()) if isinstance(found, dict) else found
    texts = [value for value in values if isinstance(value, str)]
    templates = texts if len(values) == 1 else [text for text in texts if SLOT in text]
    return templates[0] if len(templates) == 1 else None


def _refuse_what_is_no_caption(text: str) -> None:
    """Refuse what an encoder reads as words although it belongs to no caption."""
    around = text.replace(SLOT, " ")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co") and (
            character not in _JOINERS
        ):
            raise RefusedError(f"it has the invisible character U+{ord(character):04X}")
    if match := _TAG.search(around):
        raise RefusedError(f"it has a left-over {match[0]!r}")
    if match := _META_WORD.search(around):
        raise RefusedError(f"{match[0]!r} says nothing about an image")
    if (match := _CUT_OFF.search(text)) and not text.endswith(SLOT):
        raise RefusedError(f"it breaks off after {match[0]!r}")
    if any(text.count(left) != text.count(right) for left, right in ("()", "[]", "“”")):
        raise RefusedError("it has a bracket or a quote without its other half")


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
    if hidden := hidden_name(text):
        raise RefusedError(f"it has the hidden character {hidden}")
