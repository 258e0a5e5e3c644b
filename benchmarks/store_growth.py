"""The feature store at ten million images: does an image cost the same throughout?

Two writers fill one folder, block by block in turn; then a third store opens what both wrote, and
passes over all of it. Images are names of which nothing is read and features come from nowhere, so
that what is left is the store: identities, content hashes, index, shards, and the merge. Writes
store_growth.json and .md.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console

from benchmarks.memory import peak_memory
from benchmarks.provenance import RESULTS, provenance, write_result
from ipo_dspy.features.backends import EmbeddingJob, Shard
from ipo_dspy.features.index import joined_keys
from ipo_dspy.features.store import FeatureStore
from ipo_dspy.images.remote import RemoteImage
from ipo_dspy.testing import ColourEncoder

BLOCK = 2**18
"""Images that `ipo-dspy embed` names at a time."""
MOST_GIBIBYTES = 4
MOST_EXPONENT = 1.1
_NO_LIMIT = 10**15


class Synthetic(ColourEncoder):
    """An encoder, and its backend, of images that are nothing but a number."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image_fingerprint = f"synthetic {width}"
        self._width = width

    def run(self, job: EmbeddingJob) -> Iterator[Shard]:
        """Give features without looking at anything."""
        for numbers in _shards(len(job.images), job.shard_size):
            yield Shard(numbers, torch.full((len(numbers), self._width), 0.25))

    def content_hashes(self, images: Sequence[Any], shard_size: int) -> Iterator[Shard]:
        """Hash the names in the place of contents."""
        for numbers in _shards(len(images), shard_size):
            keys = joined_keys(
                [hashlib.blake2b(images[n].url.encode(), digest_size=32).digest() for n in numbers]
            )
            yield Shard(numbers, torch.from_numpy(keys.copy()))


def _shards(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))


@dataclass(frozen=True)
class Cost:
    """CPU seconds of one block.

    Attributes:
        rows: in the store when the block was done.
        images: of the block.
        seconds: of CPU, of this process.
    """

    rows: int
    images: int
    seconds: float

    @property
    def microseconds(self) -> float:
        """Of one image."""
        return 1e6 * self.seconds / self.images


def named(first: int, end: int) -> list[RemoteImage]:
    """Name the images with these numbers."""
    return [RemoteImage(f"s3://b/{number}", "1") for number in range(first, end)]


def fill(stores: Sequence[FeatureStore], backend: Synthetic, rows: int) -> list[Cost]:
    """Let stores fill one folder in turn, a block each."""
    costs = []
    for turn, start in enumerate(range(0, rows, BLOCK)):
        images = named(start, min(start + BLOCK, rows))
        began = time.process_time()
        stores[turn % len(stores)].fill(images, backend)
        costs.append(Cost(start + len(images), len(images), time.process_time() - began))
    return costs


def exponent(costs: Sequence[Cost]) -> float:
    """To which power of the images in the store the cost of all of them grows."""
    rows = np.cumsum([cost.images for cost in costs])
    seconds = np.cumsum([cost.seconds for cost in costs])
    half = len(costs) // 4  # The first blocks hold what is done once.
    return float(np.polyfit(np.log(rows[half:]), np.log(seconds[half:]), 1)[0])


def measure(rows: int, width: int) -> dict[str, Any]:
    """Fill and pass over a store of that many rows."""
    backend = Synthetic(width)
    with TemporaryDirectory() as name, peak_memory("cpu") as peak:
        folder = Path(name)
        writers = [FeatureStore(folder, backend, _NO_LIMIT) for _ in range(2)]
        filled = fill(writers, backend, rows)
        del writers
        began = time.process_time()
        merged = FeatureStore(folder, backend, _NO_LIMIT)
        merged.fill(named(0, 1), backend)
        opening = time.process_time() - began
        skipped = fill([merged], backend, rows)
        files = [file.stat().st_size for file in folder.rglob("*.safetensors")]
    return {
        "rows": rows,
        "width": width,
        "filling": _summary(filled),
        "skipping": _summary(skipped),
        "opening_seconds": round(opening, 2),
        "files": len(files),
        "bytes": sum(files),
        "peak_mebibytes": peak.mebibytes,
    }


def _summary(costs: Sequence[Cost]) -> dict[str, Any]:
    tenth = max(1, len(costs) // 10)
    parts = [costs[start : start + tenth] for start in range(0, len(costs), tenth)]
    return {
        "exponent": round(exponent(costs), 3) if len(costs) > 3 else None,
        "microseconds_an_image": {
            f"{part[-1].rows:,}": round(
                1e6 * sum(c.seconds for c in part) / sum(c.images for c in part), 1
            )
            for part in parts
        },
    }


def markdown(found: dict[str, Any], origin: dict[str, Any]) -> str:
    """Write what was found as a page."""
    changes = " with uncommitted changes" if origin["uncommitted_changes"] else ""
    filling, skipping = found["filling"], found["skipping"]
    lines = [
        f"| {rows} | {cost} | {skipping['microseconds_an_image'][rows]} |"
        for rows, cost in filling["microseconds_an_image"].items()
    ]
    return "\n".join(
        [
            "# The feature store at many images",
            "",
            f"`{origin['command']}`, {origin['date']}, commit {origin['commit']}{changes}, "
            f"{origin['machine']}. Synthetic rows of {found['width']} numbers, written by two "
            "stores in turn and opened by a third; CPU time of one process, in microseconds an "
            "image.",
            "",
            "| images in the store | filling | passing over what is there |",
            "|---|---|---|",
            *lines,
            f"| exponent (goal: at most {MOST_EXPONENT}) | {filling['exponent']} | "
            f"{skipping['exponent']} |",
            "",
            f"Peak memory {found['peak_mebibytes']:,} MiB (goal: at most {MOST_GIBIBYTES} GiB); "
            f"{found['files']:,} files, {found['bytes'] / 1e9:.2f} GB; opening the merged store "
            f"takes {found['opening_seconds']} s.",
            "",
        ]
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.store_growth", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=16, help="numbers of a feature")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = measure(options.rows, options.width)
    origin = provenance("benchmarks.store_growth")
    text = markdown(found, origin)
    write_result(options.out / "store_growth", {"provenance": origin, **found}, text)
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
