"""Where an encoder runs, with which precision, and what to do when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import torch
from torch import Tensor

from ipo_dspy.errors import ArgumentError
from ipo_dspy.upstream.torch_parts import is_out_of_memory

_logger = logging.getLogger(__name__)
_Item = TypeVar("_Item")

PRECISIONS = ("float32", "bfloat16", "float16")


def choose_device(name: str | None) -> torch.device:
    """The device of that name; for None, CUDA before Apple's MPS before the CPU.

    Raises:
        ArgumentError: torch knows no such device, or it is not there.
    """
    if name is None or name == "auto":
        name = "cuda" if torch.cuda.is_available() else _mps_or_cpu()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ArgumentError(f"{name!r} is no device; use 'cuda', 'mps', 'cpu' or 'auto'") from error
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, True):
        raise ArgumentError(f"this machine offers torch no {name!r} device; use 'cpu' or 'auto'")
    return device


def choose_precision(name: str | None, device: torch.device) -> str:
    """The precision of that name; for None, bfloat16 on CUDA and float32 elsewhere.

    Raises:
        ArgumentError: no such precision.
    """
    if name is None or name == "auto":
        return "bfloat16" if device.type == "cuda" else "float32"
    if name not in PRECISIONS:
        raise ArgumentError(f"{name!r} is no precision; use one of {', '.join(PRECISIONS)}")
    return name


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Run what is inside in that precision, the weights staying float32."""
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, precision))


class BatchSize:
    """How many items go through a tower at once; halves for good when memory runs out."""

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, items: Sequence[_Item], encode: Callable[[Sequence[_Item]], Tensor]) -> Tensor:
        """Encode all items, a batch at a time: the results concatenated along the first axis.

        Raises:
            RuntimeError: memory does not even hold one item; or what `encode` raises.
        """
        parts: list[Tensor] = []
        done = 0

        def encode_next(size: int) -> Tensor:
            return encode(items[done : done + size])

        while done < len(items):
            parts.append(self.attempt(encode_next))
            done += len(parts[-1])
        return torch.cat(parts)

    def attempt(self, encode: Callable[[int], _Item]) -> _Item:
        """Encode with that many items at once, or with as many as memory allows.

        Raises:
            RuntimeError: memory does not even hold one item; or what `encode` raises.
        """
        while True:
            size = self.size
            try:
                return encode(size)
            except RuntimeError as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            # Only here, for the error's traceback keeps the batch in memory.
            self._halve(size)

    def _halve(self, size: int) -> None:
        self.size = min(self.size, size // 2)
        _logger.warning("Out of memory with %d at once; going on with %d", size, self.size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        if torch.backends.mps.is_available():
            torch.mps.empty_cache()


def _mps_or_cpu() -> str:
    return "mps" if torch.backends.mps.is_available() else "cpu"
