"""Fetching a benchmark's images through torchvision, into CoOp's layout of folders."""

from __future__ import annotations

import http.client
import os
import socket
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ipo_dspy.datasets.benchmark import Benchmark, Torchvision
from ipo_dspy.datasets.catalog import find_benchmark
from ipo_dspy.errors import DataError

SECONDS_TO_ANSWER = 30
"""How long a server may be silent before fetching gives up."""

_FETCHING_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    zlib.error,
    http.client.HTTPException,
    tarfile.TarError,
    zipfile.BadZipFile,
)


def fetch(name: str, root: str | os.PathLike[str]) -> Path:
    """Fetch the images of a benchmark, and lists that come with them.

    What is there already is kept. Split files are not fetched: only Google Drive has them.
    ImageNet cannot be downloaded freely; its archives are unpacked from `imagenet/images`.

    Args:
        name: such as `Flowers102`.
        root: the folder of all benchmarks; made if it is missing.

    Returns:
        The benchmark's folder.

    Raises:
        DataError: torchvision cannot fetch it, or the download failed.
    """
    benchmark = find_benchmark(name)
    folder = Path(root) / benchmark.folder
    if benchmark.torchvision is None:
        raise DataError(
            f"torchvision cannot fetch {benchmark.name}; {folder} needs "
            + "; ".join(f"{p.path}: {p.source.format(root=root)}" for p in benchmark.parts)
        )
    if not all((folder / part.path).exists() for part in benchmark.parts if not part.by_hand):
        _fetch(benchmark, benchmark.torchvision, Path(root))
    return folder


def _fetch(benchmark: Benchmark, source: Torchvision, root: Path) -> None:
    from torchvision import datasets

    dataset = getattr(datasets, source.dataset)
    base = root / source.root
    try:
        base.mkdir(parents=True, exist_ok=True)
        with _impatient_sockets():
            for arguments in source.calls:
                dataset(str(base), **arguments)
        if source.moved:
            _move_content(base / source.moved, root / benchmark.folder)
    except ImportError as error:
        raise DataError(
            f"torchvision needs {error.name} to read {benchmark.name}; "
            f"type: pip install {error.name}, then fetch again"
        ) from error
    except _FETCHING_ERRORS as error:
        sources = dict.fromkeys(
            part.source.format(root=root) for part in benchmark.parts if not part.by_hand
        )
        raise DataError(
            f"{benchmark.name} could not be fetched ({error}); "
            f"try again, or see {'; '.join(sources)}"
        ) from error


def _move_content(source: Path, target: Path) -> None:
    for entry in sorted(source.iterdir()):
        entry.rename(target / entry.name)
    # An empty folder would make torchvision believe that the images are there.
    source.rmdir()


@contextmanager
def _impatient_sockets() -> Iterator[None]:
    """Let no connection wait for ever; torchvision sets no time limit of its own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS_TO_ANSWER)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
