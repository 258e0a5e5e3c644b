"""Embed pictures with a local Ray while its workers are killed at random, and then the driver too.

Half-way the driver is killed and started again with another number of workers. One picture is
damaged and one ends every process that reads it. What is kept in the end must be, bit for bit, what
one process makes of the same pictures. Writes ray_kills.json and .md. Needs Linux's /proc.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import PIL.Image
import torch
from rich.console import Console

from benchmarks.provenance import RESULTS, provenance, write_result
from benchmarks.ray_kills.driver import DEADLY, Fragile, embed, embed_with_ray
from ipo_dspy.errors import IPOError
from ipo_dspy.features import cluster
from ipo_dspy.features.cache import info
from ipo_dspy.features.embedder import Embedder

SIZE = (32, 32)
_WORKER = "ray::_Worker"


@dataclass(frozen=True)
class Run:
    """One driver.

    Attributes:
        workers: how many embed.
        seconds: it lived.
        killed: workers that were killed.
        kept: images in the store when it ended.
        ended: whether by itself.
    """

    workers: int
    seconds: float
    killed: int
    kept: int
    ended: bool


class EndedBadlyError(IPOError):
    """A driver ended with an error."""


def draw(folder: Path, images: int) -> list[Path]:
    """Draw pictures of noise, then one that is damaged and one that kills."""
    noise = np.random.default_rng(0)
    files = [folder / f"{number:06d}.png" for number in range(images)]
    for file in files:
        PIL.Image.fromarray(noise.integers(0, 256, (*SIZE, 3), np.uint8)).save(file)
    (folder / "damaged.png").write_bytes(files[0].read_bytes()[:100])
    PIL.Image.new("RGB", DEADLY).save(folder / "deadly.png")
    return files


def endure(driver: Any, cache: Path, waits: Iterator[float], at: int) -> tuple[bool, int]:
    """Let a driver run while its workers are killed; kill it when so many images are kept.

    Args:
        driver: a process that was not started yet.
        cache: where it keeps features.
        waits: seconds until the next worker is killed.
        at: images.

    Returns:
        Whether it ended by itself, and how many workers were killed.

    Raises:
        EndedBadlyError: it ended by itself, but badly.
    """
    driver.start()
    killed = 0
    while driver.is_alive() and info(cache).images < at:
        driver.join(next(waits))
        there = _workers_of(driver.pid)
        if there and driver.is_alive():
            with suppress(ProcessLookupError):
                os.kill(random.choice(there), signal.SIGKILL)
                killed += 1
    ended = not driver.is_alive()
    driver.kill()
    driver.join()
    if ended and driver.exitcode:
        raise EndedBadlyError(f"the driver ended with {driver.exitcode}, see above")
    return ended, killed


def _workers_of(process: int) -> list[int]:
    """The processes that embed for a driver, by their parents' parents."""
    parents, workers = {}, []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(stat[1])
            if (folder / "cmdline").read_bytes().startswith(_WORKER.encode()):
                workers.append(int(folder.name))
    return [worker for worker in workers if parents.get(parents[worker]) == process]


def measure(images: int, workers: Sequence[int], every: float) -> dict[str, Any]:
    """Embed in one process, and with Ray under kills; compare."""
    waits = (random.expovariate(1 / every) for _ in count())
    with TemporaryDirectory() as name:
        folder, alone, spread = (Path(name) / part for part in ("images", "alone", "spread"))
        folder.mkdir()
        files = draw(folder, images)
        outcome = Path(name) / "errors"
        runs = []
        for number, size in enumerate(workers, 1):
            driver = get_context("spawn").Process(
                target=embed_with_ray, args=(folder, spread, size, outcome)
            )
            at = images * number // len(workers) + (number == len(workers))
            began = time.monotonic()
            ended, killed = endure(driver, spread, waits, at)
            seconds = round(time.monotonic() - began, 1)
            runs.append(Run(size, seconds, killed, info(spread).images, ended))
        cluster.remove_left_behind()
        (folder / "deadly.png").unlink()
        began = time.monotonic()
        embed(folder, alone)
        seconds = time.monotonic() - began
        kept, expected = (
            Embedder(Fragile(), str(place)).many_image_features(files)[:]
            for place in (spread, alone)
        )
        return {
            "images": images,
            "seconds_between_kills": every,
            "runs": [asdict(run) for run in runs],
            "errors": [line.replace(f"{folder}/", "") for line in outcome.read_text().splitlines()],
            "files": sum(encoder.files for encoder in info(spread).encoders),
            "seconds_in_one_process": round(seconds, 1),
            "equal": torch.equal(kept, expected),
        }


def markdown(found: dict[str, Any], origin: dict[str, Any]) -> str:
    """Write what was found as a page."""
    changes = " with uncommitted changes" if origin["uncommitted_changes"] else ""
    lines = [
        f"| {number} | {run['workers']} | {run['killed']} | {run['seconds']} | {run['kept']:,} | "
        f"{'came to its end' if run['ended'] else 'was killed'} |"
        for number, run in enumerate(found["runs"], 1)
    ]
    return "\n".join(
        [
            "# Embedding with Ray while workers are killed",
            "",
            f"`{origin['command']}`, {origin['date']}, commit {origin['commit']}{changes}, "
            f"{origin['machine']}. {found['images']:,} pictures of {SIZE[0]} x {SIZE[1]}, the "
            f"demo's encoder; a worker is killed every {found['seconds_between_kills']:g} s in the "
            "mean, at random times.",
            "",
            "| driver | workers | workers killed | seconds | images kept | the driver |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            f"The features are {'' if found['equal'] else 'NOT '}bit for bit those of one process, "
            f"which took {found['seconds_in_one_process']} s with nobody killed; they lie in "
            f"{found['files']} files. What cannot be read:",
            "",
            *(f"- {error}" for error in found["errors"]),
            "",
        ]
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ray_kills", description=__doc__)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 3], help="of each driver")
    parser.add_argument("--every", type=float, default=4, help="seconds between two kills")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    found = measure(options.images, options.workers, options.every)
    origin = provenance("benchmarks.ray_kills")
    text = markdown(found, origin)
    write_result(options.out / "ray_kills", {"provenance": origin, **found}, text)
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
