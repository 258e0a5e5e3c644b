"""Calls that may hang: made in threads that nobody has to wait for, and within a run's time."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

from ipo_dspy.errors import OutOfTimeError

GRACE = 0.3
"""How many seconds the calls that are out have to end when they are left."""
_Result = TypeVar("_Result")
_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


@contextmanager
def within(seconds: float | None, *, since: float | None = None) -> Iterator[None]:
    """Bound all waiting inside: it ends with `OutOfTimeError` when the time is up.

    Args:
        seconds: how long it may take; None leaves the bound there is.
        since: the moment from which they count, of `time.monotonic`; None takes now.
    """
    ends = _ends_at.get()
    if seconds is not None:
        own = (time.monotonic() if since is None else since) + seconds
        ends = own if ends is None else min(own, ends)
    token = _ends_at.set(ends)
    try:
        yield
    finally:
        _ends_at.reset(token)


def seconds_left() -> float | None:
    """How many seconds the innermost bound leaves; None where there is none."""
    ends = _ends_at.get()
    return None if ends is None else max(0.0, ends - time.monotonic())


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first Ctrl-C end a block that a coroutine of `asyncio.run` runs by itself.

    There, it would only cancel the coroutine, which is heard of when the block is done.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    owner = getattr(getattr(handler, "func", None), "__self__", None)
    if not in_main_thread or not isinstance(owner, asyncio.Runner):
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def call(function: Callable[[], _Result]) -> _Result:
    """Call a function that may hang, within the time there is.

    Raises:
        OutOfTimeError: the time is up; the call is left behind.
    """
    if seconds_left() is None:
        return function()
    with Calls[_Result](1) as calls:
        future = calls.submit(function)
        calls.wait([future])
        return future.result()


class Calls(Generic[_Result]):
    """Calls in threads of their own, at most so many at once.

    Who leaves waits `GRACE` at most for those that are out, be it after an error or after Ctrl-C,
    and so does the end of the process, for a call that hangs may hang for minutes. (The pools of
    `concurrent.futures` are waited for.)

    Args:
        num_threads: most calls at once.
    """

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        self._threads: list[threading.Thread] = []
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._unfinished: set[Future[_Result]] = set()
        self._left = threading.Event()

    def submit(self, function: Callable[[], _Result]) -> Future[_Result]:
        """Call a function as soon as a thread is free, with the context variables of now."""
        future: Future[_Result] = Future()
        context = copy_context()
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        self._tasks.put(lambda: self._run(future, lambda: context.run(function)))
        if len(self._threads) < self._num_threads:
            thread = threading.Thread(target=self._work, name="ipo-dspy-call", daemon=True)
            self._threads.append(thread)
            thread.start()
        return future

    def wait(self, futures: Collection[Future[_Result]]) -> list[Future[_Result]]:
        """Wait until one is done, and tell which are, in the order given.

        Raises:
            OutOfTimeError: the time is up.
        """
        done, _ = wait(futures, timeout=seconds_left(), return_when=FIRST_COMPLETED)
        if not done:
            raise OutOfTimeError("the time is up")
        return [future for future in futures if future in done]

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()

    def _run(self, future: Future[_Result], function: Callable[[], _Result]) -> None:
        if self._left.is_set() or not future.set_running_or_notify_cancel():
            future.cancel()
            return
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is asked for
            future.set_exception(error)
        else:
            future.set_result(result)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set()
        for future in list(self._unfinished):
            future.cancel()
        for _ in self._threads:
            self._tasks.put(None)
        # What is about to end may end; what hangs is left behind.
        grace_ends = time.monotonic() + GRACE
        for thread in self._threads:
            thread.join(max(0.0, grace_ends - time.monotonic()))
