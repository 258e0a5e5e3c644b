"""The layers of a text tower, over weights that stay the model's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ipo_dspy.upstream.torch_parts import onednn_linear, uses_onednn

_QUICK_GELU = 1.702


@dataclass(frozen=True)
class Linear:
    """`x @ weight.T + bias`, in the type of the weight.

    Args:
        weight: [outputs, inputs].
        bias: [outputs].
    """

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """From [R, inputs] to [R, outputs]."""
        if x.device.type == "cpu" and x.dtype == torch.float32 and uses_onednn():
            return onednn_linear(x, self.weight, self.bias)
        return functional.linear(x, self.weight, self.bias)

    def to(self, dtype: torch.dtype) -> Linear:
        """The same with weights of another type."""
        return Linear(self.weight.to(dtype), None if self.bias is None else self.bias.to(dtype))

    def times(self, factors: Tensor) -> Linear:
        """The same with each output multiplied by its factor."""
        bias = None if self.bias is None else self.bias * factors
        return Linear(self.weight * factors[:, None], bias)

    def bias_times(self, factor: float) -> Linear:
        """The same with the bias multiplied."""
        return replace(self, bias=None if self.bias is None else self.bias * factor)


@dataclass(frozen=True)
class Norm:
    """A layer normalisation, computed in float32.

    Args:
        weight: [W].
        bias: [W].
        epsilon: added to the variance.
        dtype: of the output.
    """

    weight: Tensor
    bias: Tensor | None
    epsilon: float
    dtype: torch.dtype = torch.float32

    def __call__(self, x: Tensor) -> Tensor:
        """Normalise each row of [R, W]."""
        normed = functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, self.epsilon)
        return normed.to(self.dtype)

    def to(self, dtype: torch.dtype) -> Norm:
        """The same with an output of another type."""
        return replace(self, dtype=dtype)

    def times(self, factor: float) -> Norm:
        """The same with the output multiplied."""
        bias = None if self.bias is None else self.bias * factor
        return replace(self, weight=self.weight * factor, bias=bias)


@dataclass(frozen=True)
class Block:
    """A residual block: attention, then a perceptron, each after a normalisation.

    Args:
        attention_norm: before the attention.
        queries: from W to W, as `keys`, `values` and `attention_out`.
        keys: see `queries`.
        values: see `queries`.
        attention_out: after the attention.
        perceptron_norm: before the perceptron.
        widen: from W to the perceptron's width.
        activation: may change its argument.
        narrow: from the perceptron's width to W.
        gain: how many times too large the output of `narrow` is.
    """

    attention_norm: Norm
    queries: Linear
    keys: Linear
    values: Linear
    attention_out: Linear
    perceptron_norm: Norm
    widen: Linear
    activation: Callable[[Tensor], Tensor]
    narrow: Linear
    gain: float = 1.0

    @property
    def size(self) -> int:
        """How many multiplications a token costs in the linear layers."""
        layers = (self.queries, self.keys, self.values, self.attention_out, self.widen, self.narrow)
        return sum(layer.weight.numel() for layer in layers)

    def to(self, dtype: torch.dtype) -> Block:
        """The same with linear layers of another type."""
        return replace(
            self,
            attention_norm=self.attention_norm.to(dtype),
            queries=self.queries.to(dtype),
            keys=self.keys.to(dtype),
            values=self.values.to(dtype),
            attention_out=self.attention_out.to(dtype),
            perceptron_norm=self.perceptron_norm.to(dtype),
            widen=self.widen.to(dtype),
            narrow=self.narrow.to(dtype),
        )

    def with_quick_gelu(self) -> Block:
        """The same with `x * sigmoid(1.702 x)` as activation.

        That is the SiLU of 1.702 x, over 1.702, and SiLU passes over memory once instead of three
        times. Vectors alone carry the factor; the matrices stay the model's own.
        """
        return replace(
            self,
            perceptron_norm=self.perceptron_norm.times(_QUICK_GELU),
            widen=self.widen.bias_times(_QUICK_GELU),
            activation=_silu_in_place,
            narrow=self.narrow.bias_times(_QUICK_GELU),
            gain=_QUICK_GELU,
        )

    def add_perceptron(self, x: Tensor) -> None:
        """Add the perceptron's output to `x`, in place."""
        hidden = self.activation(self.widen(self.perceptron_norm(x)))
        x.add_(self.narrow(hidden), alpha=1 / self.gain)


def _silu_in_place(x: Tensor) -> Tensor:
    return functional.silu(x, inplace=True)
