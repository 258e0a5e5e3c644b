"""What is remembered of a search: scores, trials, replies."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated, Any
from unicodedata import category, name

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    NonNegativeFloat,
    NonNegativeInt,
    ValidationError,
)

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import shown


def _encodable(value: Any) -> Any:
    # JSON may hold half a surrogate pair, and then no file takes the text.
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(_encodable)]
"""Text from outside, with what UTF-8 cannot hold replaced by question marks."""


def hidden_character(text: str) -> str | None:
    """Find the first character of a text that a reader cannot see, or that acts on what shows it.

    Those are control characters but line breaks and tabs, escapes, directions of writing, what has
    no width, fillers, and what UTF-8 cannot hold. The selector of coloured emoji is none of them.
    """
    return next(filter(_is_hidden, text), None)


def hidden_name(text: str) -> str:
    """Name the first hidden character of a text that a person gives; empty where there is none.

    What joins letters of other scripts, or the parts of an emoji, belongs to how these are written.
    """
    hidden = hidden_character(_JOINED.sub("", text))
    if hidden is None:
        return ""
    return f"U+{ord(hidden):04X} {name(hidden, 'CONTROL CHARACTER')}"


def visible(text: str) -> str:
    """Write a text so that it can be shown on a terminal or a page: hidden characters as escapes.

    An escape is as in Python, such as `\\x1b` or `\\u202e`.
    """
    if hidden_character(text) is None:
        return text
    return "".join(
        char.encode("unicode_escape").decode("ascii") if _is_hidden(char) else char for char in text
    )


def without_hidden(text: str) -> str:
    """Leave out hidden characters."""
    return "".join(char for char in text if not _is_hidden(char))


_JOINED = re.compile("(?<=[^\x00-\x7f])[\u200c\u200d]")
_SHOWN_CONTROLS = "\n\t"
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Letters and marks that are drawn as nothing.
_EMPTY = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)


def _is_hidden(char: str) -> bool:
    if char.isascii():
        return not char.isprintable() and char not in _SHOWN_CONTROLS
    return category(char) in _HIDDEN_CATEGORIES or _EMPTY.match(char) is not None


class Record(BaseModel):
    """An immutable record that goes to the journal as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ArgumentError(
                f"{type(self).__name__}: {where}: {first['msg']}, got {shown(first['input'])}."
            ) from None

    # What is read from JSON is not made by it, and stays as strict as it is asked to be.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


Call = tuple[int, int]
"""A step, from 1, and a slot in it, from 0; step 0 has the initial prompts."""


class ScoredPrompt(Record):
    """One line of the history as the prompt model sees it."""

    prompt: str
    loss: float
    accuracy: float


SCALES = tuple(2.0 ** (half / 2) for half in range(-10, 17))
"""What logits are multiplied by where a loss is wanted at other scales than the encoder's own."""


class Score(Record):
    """How well a text does on a set of examples.

    `accuracy` is the mean metric in percent, 0 to 100; `loss` the mean cross-entropy of the true
    class in nats (for programs without class probabilities: one minus the mean metric); `losses`
    the same at each of `SCALES` times the logits, and empty without class probabilities; `spread`
    how far the logits of an image lie from their mean, as the root of the mean square over images
    and classes, and 0 where that is not known; `n` the number of examples; `per_class` the mean
    metric in percent for each label.
    """

    accuracy: float
    loss: float
    n: NonNegativeInt
    per_class: dict[str, float] = {}
    losses: tuple[float, ...] = ()
    spread: NonNegativeFloat = 0.0


class State(StrEnum):
    """What became of a proposal."""

    OK = "ok"
    INVALID = "invalid"
    FAILED = "failed"


class Cost(Record):
    """What calls of language models cost; tokens and dollars are None where unknown."""

    calls: int = 0
    tokens: int | None = None
    dollars: float | None = None


class Description(Record):
    """The text about one training image, or the error that came instead.

    `retries` are the reasons for which it was asked for again.
    """

    index: NonNegativeInt
    text: Text | None = None
    error: Text | None = None
    retries: tuple[Text, ...] = ()


class ClassText(Record):
    """What was said of one class, or the error that came instead.

    `asked` identifies what was asked: the instruction, and whatever else comes with every class.
    `confused_with` are the classes that it was told apart from, and `retries` the reasons for which
    it was asked for again.
    """

    asked: str
    class_name: Text
    confused_with: tuple[Text, ...] = ()
    texts: tuple[Text, ...] = ()
    error: Text | None = None
    retries: tuple[Text, ...] = ()
    tokens: int | None = None
    dollars: float | None = None

    @property
    def cost(self) -> Cost:
        """What the call cost."""
        return Cost(calls=1, tokens=self.tokens, dollars=self.dollars)


class Reply(Record):
    """One answer of the prompt model to one call, or the error that came instead.

    Tokens and dollars are None where unknown; unknown is not zero.
    """

    step: NonNegativeInt
    slot: NonNegativeInt
    text: Text | None = None
    error: Text | None = None
    tokens: int | None = None
    dollars: float | None = None

    @property
    def call(self) -> Call:
        """Which call it answers."""
        return self.step, self.slot

    @property
    def cost(self) -> Cost:
        """What the call cost."""
        return Cost(calls=1, tokens=self.tokens, dollars=self.dollars)


class Trial(Record):
    """One candidate and what became of it.

    `step` 0 is the initial prompt. `score` is on the training set, `validation` on the validation
    set where there is one; both are None unless the state is `ok`, and then `reason` is empty.
    `counts_as_failure` marks what says that the prompt model does not work: ten such in a row stop
    the search. `edited` marks what the strategy wrote itself, without the prompt model. `cost` is
    that of the program's own language models while it was scored.
    """

    step: NonNegativeInt
    slot: NonNegativeInt
    predictor: str = ""
    text: str
    state: State
    reason: str = ""
    counts_as_failure: bool = False
    edited: bool = False
    score: Score | None = None
    validation: Score | None = None
    cost: Cost | None = None

    @property
    def call(self) -> Call:
        """Which call it came from."""
        return self.step, self.slot
