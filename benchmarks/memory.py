"""The most memory that a piece of work takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"


class Peak:
    """The peak of a piece of work, in MiB; None while it runs, and where no system tells."""

    mebibytes: int | None = None


@contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """Measure the most memory in use: of the GPU on CUDA, else of the process, encoder included.

    Args:
        device: where the work runs, as torch spells it.
    """
    import torch

    peak = Peak()
    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    was_reset = not on_gpu and _reset()
    yield peak
    if on_gpu:
        peak.mebibytes = torch.cuda.max_memory_allocated() // 2**20
    elif was_reset:
        lines = _STATUS.read_text().splitlines()
        [kibibytes] = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
        peak.mebibytes = kibibytes // 2**10


def _reset() -> bool:
    """Forget the peak so far; False where the system does not let us."""
    try:
        _RESET.write_text(_RESET_PEAK)
    except OSError:
        return False
    return True
