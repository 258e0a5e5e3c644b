from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional

from ipo_dspy.encoders.fast.layers import Linear
from ipo_dspy.upstream import torch_parts


@pytest.fixture(autouse=True)
def probed_anew() -> Iterator[None]:
    torch_parts._has_onednn_linear.cache_clear()
    yield
    torch_parts._has_onednn_linear.cache_clear()


def product() -> tuple[torch.Tensor, torch.Tensor]:
    """What a layer gives, and what torch's own function does."""
    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(*size, generator=generator) for size in ((5, 8), (4, 8), (4,)))
    return Linear(weight, bias)(x), functional.linear(x, weight, bias)


class CountedOperation:
    """Torch's private product, whose calls are counted; or one that went wrong."""

    def __init__(self, fault: Exception | float | None = None) -> None:
        self.calls = 0
        self._fault = fault

    def __call__(self, x: torch.Tensor, weight: torch.Tensor, bias: Any, *_: Any) -> torch.Tensor:
        self.calls += 1
        if isinstance(self._fault, Exception):
            raise self._fault
        return functional.linear(x, weight, bias) + (self._fault or 0)


@pytest.fixture
def x86(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")


def test_a_layer_is_a_product_and_a_sum() -> None:
    torch.testing.assert_close(*product())


@pytest.mark.parametrize("fault", [AttributeError(), TypeError(), RuntimeError("schema"), 0.5])
def test_a_changed_operation_of_torch_is_left(
    fault: Exception | float, x86: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = CountedOperation(fault)
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", operation)
    for _ in range(3):
        torch.testing.assert_close(*product(), rtol=0, atol=0)
    assert operation.calls == 1


def test_onednn_that_is_switched_off_is_left(x86: None, monkeypatch: pytest.MonkeyPatch) -> None:
    operation = CountedOperation()
    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", operation)
    product()
    assert operation.calls == 2
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    product()
    assert operation.calls == 2
