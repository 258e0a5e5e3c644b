"""What the engines of this package share: reading a request and giving a whole answer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Self

from dspy.lm15 import (
    ImagePart,
    Message,
    Request,
    Response,
    TextPart,
    Usage,
    response_to_events,
)

from ipo_dspy.errors import ArgumentError


class LocalEngine(ABC):
    """An engine for `dspy.LM("name/model", engine=...)` that answers in this process.

    It may be called from many threads at the same time, and a copy of it is itself: copies of an
    LM share what is loaded.
    """

    supported_params: frozenset[str] = frozenset({"max_tokens", "seed", "stop", "temperature"})

    @abstractmethod
    def complete(self, request: Request) -> Response:
        """Answer one request."""

    def stream(self, request: Request) -> Iterator[Any]:
        """Answer one request with the events of a stream, all of them at the end."""
        return iter(response_to_events(self.complete(request)))

    @abstractmethod
    def close(self) -> None:
        """Free what the engine holds; it may be used again."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def answer(
    request: Request,
    text: str,
    *,
    input_tokens: int,
    output_tokens: int,
    cut_off: bool = False,
) -> Response:
    """Wrap an answer's text; `cut_off` says that it stopped at the request's `max_tokens`."""
    return Response(
        id=None,
        model=request.model,
        message=Message.assistant(text),
        finish_reason="length" if cut_off else "stop",
        usage=Usage(input_tokens=input_tokens, output_tokens=output_tokens),
    )


Turn = tuple[str, tuple[str | ImagePart, ...]]
"""A role (`system`, `user` or `assistant`) and its contents in order: texts and images."""


def turns(request: Request) -> list[Turn]:
    """The conversation of a request, system text first.

    Raises:
        ArgumentError: it holds something that is neither text nor an image.
    """
    system = (TextPart(request.system),) if isinstance(request.system, str) else request.system
    conversation = [("system", system)] if system else []
    for message in request.messages:
        role = "system" if message.role == "developer" else message.role
        conversation.append((role, message.parts))
    return [(role, tuple(_content(part) for part in parts)) for role, parts in conversation]


def texts(conversation: list[Turn], role: str) -> list[str]:
    """What one role says: its texts, joined per turn, without the images."""
    return [
        "".join(part for part in content if isinstance(part, str))
        for speaker, content in conversation
        if speaker == role
    ]


def _content(part: Any) -> str | ImagePart:
    if isinstance(part, TextPart):
        return str(part.text)
    if isinstance(part, ImagePart):
        return part
    raise ArgumentError(
        f"this engine reads text and images, and the request has a {part.type!r} part"
    )
