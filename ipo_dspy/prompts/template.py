"""A CLIP prompt template: text with exactly one slot for the class name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ipo_dspy.errors import InvalidTemplateError
from ipo_dspy.errors.arguments import checked
from ipo_dspy.records import hidden_name, without_hidden

SLOT = "<CLASS>"
_SPELLINGS = re.compile(r"<class>|\[class\]|\{(?:c|class|label)?\}", re.IGNORECASE)


def _with_slots(text: str) -> str:
    return _SPELLINGS.sub(SLOT, text)


@checked
@dataclass(frozen=True)
class Template:
    """One or several lines, each with exactly one `<CLASS>`; several lines are an ensemble.

    Construct with `Template(text)`, which accepts the spellings `{}`, `{c}`, `{class}`, `{label}`,
    `[CLASS]` and `<class>` and keeps every other character.

    Raises:
        InvalidTemplateError: the text is empty, one of its lines has no slot or more than one, or a
            hidden character.
    """

    text: str

    def __post_init__(self) -> None:
        lines = [line.strip() for line in _with_slots(self.text).splitlines() if line.strip()]
        if not lines:
            raise InvalidTemplateError(f"the template is empty; expected text with {SLOT} in it")
        for line in lines:
            count = line.count(SLOT)
            if count != 1:
                raise InvalidTemplateError(
                    f"expected {SLOT} exactly once in each line of a template, found it {count} "
                    f"times in {line!r}"
                )
            if hidden := hidden_name(line):
                raise InvalidTemplateError(
                    f"the template has the hidden character {hidden}; take it out of {line!a}"
                )
        object.__setattr__(self, "text", "\n".join(lines))

    @classmethod
    def repair(cls, text: str) -> Template:
        """Make a template of any text, for callers that must not fail.

        Lines that have the slot are the template and other lines are left out. Where no line has
        it, the class name goes in front: behind long prose it would be cut off by the encoder.
        Hidden characters are left out.
        """
        # A hidden character may stand within a slot, so that there is one only without it.
        lines = [_with_slots(without_hidden(line)).strip() for line in text.splitlines()]
        slotted = [line for line in lines if SLOT in line]
        if not slotted:
            return cls(" ".join([f"{SLOT}.", *(line for line in lines if line)]))
        heads = (line.partition(SLOT) for line in slotted)
        return cls("\n".join(head + slot + tail.replace(SLOT, "it") for head, slot, tail in heads))

    @property
    def lines(self) -> tuple[str, ...]:
        """The single-slot lines; more than one make an ensemble."""
        return tuple(self.text.splitlines())

    def fill(self, class_name: str) -> tuple[str, ...]:
        """Put a class name into every line; its underscores become spaces, the rest is literal."""
        name = class_name.replace("_", " ")
        parts = (line.partition(SLOT) for line in self.lines)
        return tuple(head + name + tail for head, _, tail in parts)

    def __str__(self) -> str:
        return self.text


DEFAULT_TEMPLATE = Template(f"a photo of a {SLOT}.")

FIRST_TEMPLATES = (
    SLOT,
    f"{SLOT}.",
    f"a {SLOT}.",
    DEFAULT_TEMPLATE.text,
    f"{SLOT}, a photo.",
    f"a photo: {SLOT}",
)
"""Templates that differ in structure more than in words: an encoder may like one kind alone."""
