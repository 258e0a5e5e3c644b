"""Where answers come in: DSPy's own HTTP client, and httpx, on which LiteLLM stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any

_watch: ContextVar[Callable[[int], None] | None] = ContextVar("watch", default=None)


@contextmanager
def watched(check: Callable[[int], None]) -> Iterator[None]:
    """Have an eye on answers while they are read: neither client bounds how long they are.

    Args:
        check: called with the bytes of an answer that have come so far; what it raises ends the
            reading, and the connection.
    """
    _have_watched()
    token = _watch.set(check)
    try:
        yield
    finally:
        _watch.reset(token)


@cache
def _have_watched() -> None:
    """Count the bytes that the clients read, which changes nothing where nobody watches."""
    import httpx
    from dspy._vendor.lm15.transports._types import TransportResponse

    for kind, name in ((TransportResponse, "__iter__"), (httpx.Response, "iter_bytes")):
        setattr(kind, name, _counted(getattr(kind, name)))


def _counted(read: Callable[..., Iterator[bytes]]) -> Callable[..., Iterator[bytes]]:
    @wraps(read)
    def counting(*args: Any, **kwargs: Any) -> Iterator[bytes]:
        check, size = _watch.get(), 0
        for chunk in read(*args, **kwargs):
            size += len(chunk)
            if check is not None:
                check(size)
            yield chunk

    return counting
