"""The parts of torch that it does not promise to keep: here, and in no other module."""

from __future__ import annotations

import platform
from functools import cache

import torch
from torch import Tensor

_OUT_OF_MEMORY = ("out of memory", "not enough memory", "allocate memory")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether memory ran out; MPS and the CPU have no exception of their own for it."""
    return isinstance(error, torch.OutOfMemoryError) or any(
        words in str(error) for words in _OUT_OF_MEMORY
    )


def uses_onednn() -> bool:
    """Whether `onednn_linear` works and is wanted, which `torch.backends.mkldnn` tells."""
    return bool(torch.backends.mkldnn.enabled) and _has_onednn_linear()


def onednn_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Multiply by oneDNN, where `uses_onednn` says so: `x @ weight.T + bias` in float32."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


@cache
def _has_onednn_linear() -> bool:
    # On x86, torch multiplies float32 matrices with MKL, which does without AVX-512 on AMD's CPUs.
    if platform.machine() not in ("x86_64", "AMD64") or not torch.backends.mkldnn.is_available():
        return False
    x = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    weight = torch.arange(12, dtype=torch.float32).reshape(4, 3)
    bias = torch.arange(4, dtype=torch.float32)
    try:
        found = onednn_linear(x, weight, bias)
    except (AttributeError, TypeError, RuntimeError):
        return False
    # These products are whole numbers, without a rounding.
    return torch.equal(found, x @ weight.T + bias)
