"""A language model whose every request says what the training images look like."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dspy
from dspy.lm15 import Request, Response, TextPart

from ipo_dspy.proposing.engine import LocalEngine
from ipo_dspy.proposing.reading import IMAGES_LOOK_LIKE


class TellingEngine(LocalEngine):
    """Adds a text to the end of the last message of each request.

    Args:
        engine: what answers.
        text: what it is told.
    """

    def __init__(self, engine: Any, text: str) -> None:
        self._engine = engine
        self._text = text

    def complete(self, request: Request) -> Response:
        """Pass a request on with the text."""
        *before, last = request.messages
        told = replace(last, parts=(*last.parts, TextPart(f"\n\n{self._text}")))
        response: Response = self._engine.complete(replace(request, messages=(*before, told)))
        return response

    def close(self) -> None:
        """Free what the engine holds."""
        self._engine.close()


def telling(lm: dspy.LM, descriptions: str) -> dspy.LM:
    """Make a model that is `lm`, told the descriptions with every request.

    Raises:
        ValueError: the model has no engine of its own, as the offline proposer and local ones have.
    """
    if isinstance(lm.engine, str):
        raise ValueError(f"Expected a model with an engine of its own, got {lm.model!r}.")
    engine = TellingEngine(lm.engine, f"{IMAGES_LOOK_LIKE}\n{descriptions}")
    return dspy.LM(lm.model, engine=engine, cache=False, temperature=lm.kwargs.get("temperature"))
