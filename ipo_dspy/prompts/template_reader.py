"""Instruction texts read as CLIP templates; what is none is repaired, and counted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from types import MappingProxyType

from ipo_dspy.errors import InvalidTemplateError
from ipo_dspy.prompts.rules import TokenCounter
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE, SLOT, Template
from ipo_dspy.upstream.dspy_parts import says_nothing

logger = logging.getLogger(__name__)

LONGEST = 10_000
"""Characters of a template; no encoder reads as many, and counting their tokens takes long."""


class TemplateReader:
    """Reads the instruction texts of one classifier, each text once.

    All copies of a program share its reader: whatever an optimizer tries is read, repaired and
    reported once, however many copies it makes. Safe to use from several threads.

    Args:
        token_counter: the encoder, which knows how long a text may be.
        classnames: the names of the classes.
    """

    def __init__(self, token_counter: TokenCounter, classnames: Sequence[str]) -> None:
        self._token_counter = token_counter
        self._classnames = tuple(classnames)
        self._templates: dict[str, Template] = {}
        self._repairs: dict[str, str] = {}
        self._lock = threading.Lock()

    @property
    def repairs(self) -> MappingProxyType[str, str]:
        """The texts so far that could not be used, each with the template used instead."""
        with self._lock:
            return MappingProxyType(dict(self._repairs))

    def read(self, text: str) -> Template:
        """Give the template a text is, or the one it is repaired to; never fails.

        A text that is no template goes through `Template.repair`. Lines with more tokens than the
        encoder takes are left out; if none fits, the class name goes in front of the text. What
        DSPy writes into a signature without instructions counts as `a photo of a <CLASS>.`
        """
        with self._lock:
            if text not in self._templates:
                self._templates[text] = self._read(text)
            return self._templates[text]

    def _read(self, text: str) -> Template:
        if says_nothing(text):
            return DEFAULT_TEMPLATE
        try:
            template = fitting = Template(text)
        except InvalidTemplateError:
            template, fitting = None, Template.repair(text)
        lines = [line for line in fitting.lines if self._fits(Template(line))]
        whole = f"{SLOT}. {_without_slots(fitting)[:LONGEST]}"
        fitting = Template("\n".join(lines) if lines else whole)
        if fitting != template:
            self._repairs[text] = fitting.text
            logger.warning(
                "The instructions %.300r are no CLIP template with one %s in each line of at "
                "most %d tokens; classifying with %.300r instead.",
                text,
                SLOT,
                self._token_counter.context_length,
                fitting.text,
            )
        return fitting

    def _fits(self, template: Template) -> bool:
        if len(template.text) > LONGEST:
            return False
        tokens = self._token_counter.count_tokens(template, self._classnames)
        return tokens <= self._token_counter.context_length

    def __deepcopy__(self, memo: object) -> TemplateReader:
        return self

    def __copy__(self) -> TemplateReader:
        return self

    def __reduce__(
        self,
    ) -> tuple[Callable[..., TemplateReader], tuple[TokenCounter, tuple[str, ...]]]:
        return (TemplateReader, (self._token_counter, self._classnames))


def _without_slots(template: Template) -> str:
    return " ".join(template.text.replace(SLOT, " ").split()).lstrip(". ")
