from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from ipo_dspy.encoders.device import BatchSize, choose_device, choose_precision


def fill_cuda() -> None:
    raise torch.OutOfMemoryError("full")


def fill_mps() -> None:
    raise RuntimeError("MPS backend out of memory (MPS allocated: 5.56 GB, max allowed: 6.80 GB).")


def fill_cpu() -> None:
    torch.empty(2**55, dtype=torch.uint8)


class SmallMemory:
    """Doubles numbers, and runs out of memory beyond a number of items."""

    def __init__(self, room: int, fill: Callable[[], None] = fill_cuda) -> None:
        self.room = room
        self.fill = fill
        self.sizes: list[int] = []

    def __call__(self, items: Sequence[int]) -> Tensor:
        self.sizes.append(len(items))
        if len(items) > self.room:
            self.fill()
        return torch.tensor(items) * 2


def test_all_items_come_back_in_order() -> None:
    encode = SmallMemory(room=4)
    assert BatchSize(4).run(range(10), encode).tolist() == [2 * n for n in range(10)]
    assert encode.sizes == [4, 4, 2]


@pytest.mark.parametrize("fill", [fill_cuda, fill_mps, fill_cpu])
def test_batches_halve_for_good_when_memory_runs_out(
    fill: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    encode = SmallMemory(2, fill)
    batch_size = BatchSize(8)
    with caplog.at_level(logging.WARNING):
        assert batch_size.run(range(5), encode).tolist() == [0, 2, 4, 6, 8]
    assert encode.sizes == [5, 4, 2, 2, 1]
    assert batch_size.size == 2
    assert "Out of memory" in caplog.text


def test_another_fault_is_not_taken_for_lack_of_memory() -> None:
    def fail() -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    encode = SmallMemory(2, fail)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        BatchSize(8).run(range(5), encode)
    assert encode.sizes == [5]


def test_memory_for_not_even_one_item_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        BatchSize(2).run(range(2), SmallMemory(room=0))


@pytest.mark.parametrize("name", ["gpu", "cuda:x"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no device; use 'cuda', 'mps', 'cpu'"):
        choose_device(name)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="offers torch no 'cuda'"):
        choose_device("cuda")


def test_the_best_device_there_is_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(None).type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device(None).type == "cpu"


def test_half_precision_is_the_default_on_cuda_alone() -> None:
    assert choose_precision(None, torch.device("cuda")) == "bfloat16"
    assert choose_precision(None, torch.device("cpu")) == "float32"
    assert choose_precision("float16", torch.device("cpu")) == "float16"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="'fp8' is no precision; use one of float32"):
        choose_precision("fp8", torch.device("cpu"))
