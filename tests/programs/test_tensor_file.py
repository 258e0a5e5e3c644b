"""Tensors of programs, read back: only finite numbers are any."""

import pytest
import torch
from torch import Tensor

from ipo_dspy.errors import ArgumentError
from ipo_dspy.programs.tensor_file import tensors_as_text, tensors_of


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_numbers_of_every_precision_come_back(kind: torch.dtype) -> None:
    vectors = torch.arange(6, dtype=kind).reshape(2, 3)
    assert torch.equal(tensors_of(tensors_as_text({"vectors": vectors}))["vectors"], vectors)


@pytest.mark.parametrize(
    "damaged",
    [
        torch.tensor([0.0, torch.nan]),
        torch.tensor([torch.inf, 0.0]),
        torch.tensor([1, 2]),
        torch.tensor([True, False]),
    ],
)
def test_what_is_no_finite_number_is_named(damaged: Tensor) -> None:
    with pytest.raises(ArgumentError, match="'vectors'"):
        tensors_of(tensors_as_text({"meta": torch.zeros(1), "vectors": damaged}))
