"""Runs simultaneous calls together, without a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

from ipo_dspy.errors import ArgumentError

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Batcher(Generic[_Item, _Result]):
    """Collects what several threads submit at the same time and runs it as one batch.

    The thread that comes first waits `gather_seconds` for others and then runs the batch for all
    of them; the others wait for it, and one of them runs what came meanwhile.

    Args:
        run: items to results, one each in the same order; never called by two threads at once.
        most: how many items a batch may have; may be changed.
        kind: items of a batch have the same; by default all may share one.
        gather_seconds: how long the first thread waits for others.
    """

    def __init__(
        self,
        run: Callable[[Sequence[_Item]], Sequence[_Result]],
        most: int,
        kind: Callable[[_Item], Hashable] = lambda item: None,
        gather_seconds: float = 0.01,
    ) -> None:
        if most < 1:
            raise ArgumentError(f"a batch must have room for at least 1 item, got {most}")
        self._run = run
        self.most = most
        self._kind = kind
        self._gather_seconds = gather_seconds
        self._waiting: list[tuple[_Item, Future[_Result]]] = []
        self._running = threading.Lock()

    def submit(self, item: _Item) -> _Result:
        """Run one item, together with what other threads submit; raises what `run` raises."""
        future: Future[_Result] = Future()
        self._waiting.append((item, future))
        while not future.done():
            with self._running:
                if not future.done():
                    time.sleep(self._gather_seconds)
                    self._run_next()
        return future.result()

    def _run_next(self) -> None:
        kind = self._kind(self._waiting[0][0])
        alike = [pair for pair in self._waiting if self._kind(pair[0]) == kind]
        batch = alike[: self.most]
        for pair in batch:
            self._waiting.remove(pair)
        try:
            results = self._run([item for item, _ in batch])
        except BaseException as error:
            for _, future in batch:
                future.set_exception(error)
            # Each caller raises it from its own future; what is no Exception stops this thread.
            if not isinstance(error, Exception):
                raise
        else:
            for (_, future), result in zip(batch, results, strict=True):
                future.set_result(result)
