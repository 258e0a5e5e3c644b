"""Photographs through an image tower: as fast a core as open_clip's own loop, and on two cores?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.scoring.rows import Figure, Row
from benchmarks.scoring.timing import matrix_rate, operations_of
from benchmarks.scoring.workload import Workload, random_features
from ipo_dspy.features.backends import LocalBackend
from ipo_dspy.features.image_batches import encode_images
from ipo_dspy.features.store import FeatureStore
from ipo_dspy.testing import ColourEncoder

SIZE = (640, 480)
KEPT = 20_000
MOST_SECONDS = 10
_OURS, _OPEN_CLIP, _ONE_THREAD = "ours", "open_clip", "ours, one thread"
_NO_LIMIT = 10**15


@dataclass(frozen=True)
class Pace:
    """What a device is given to do.

    Attributes:
        photographs: as many as take some seconds.
        batch: of the plain loop.
        precision: of both.
    """

    photographs: int
    batch: int
    precision: str


ON_CPU = Pace(24, 8, "float32")
ON_GPU = Pace(2048, 64, "bfloat16")


def measure_photographs(workload: Workload) -> list[Row]:
    """Decode, prepare and encode photographs, and take others from the store."""
    pace = ON_CPU if workload.device == "cpu" else ON_GPU
    return [_encoding(workload, pace), _from_store()]


def _encoding(workload: Workload, pace: Pace) -> Row:
    encoder = workload.encoder(pace.precision)

    def ours() -> Tensor:
        return encode_images(encoder, files)

    def on_one_thread() -> Tensor:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return encode_images(encoder, files)
        finally:
            torch.set_num_threads(threads)

    works: dict[str, Callable[[], Tensor]] = {
        _OURS: ours,
        _OPEN_CLIP: lambda: _plain_loop(workload, pace, files),
    }
    on_cpu = workload.device == "cpu"
    if on_cpu:
        works[_ONE_THREAD] = on_one_thread
    with _photographs(pace.photographs) as files:
        found, expected = ours(), works[_OPEN_CLIP]()
        cpu, wall = _alternate(works, workload.rounds)
        some = partial(encode_images, encoder, files[: pace.batch])
        operations = 0.0 if on_cpu else operations_of(some)
    figures = {"smallest cosine": Figure((found * expected).sum(dim=-1).min().item(), 0.999)}
    if pace.precision == "float32":
        difference = (found - expected).abs().max().item()
        figures = {"largest difference": Figure(difference, at_most=1e-5)}
    if on_cpu:
        figures |= {
            "times as fast a core-second": Figure(cpu[_OPEN_CLIP] / cpu[_OURS], at_least=1),
            "times as fast as one thread": Figure(wall[_ONE_THREAD] / wall[_OURS], at_least=1.8),
        }
    figures["times as fast"] = Figure(wall[_OPEN_CLIP] / wall[_OURS])
    figures["images a second"] = Figure(pace.photographs / wall[_OURS])
    if not on_cpu:
        rate = operations * pace.photographs / pace.batch / wall[_OURS]
        figures["share of the matrix rate"] = Figure(rate / matrix_rate(workload.device))
    return Row(
        f"{pace.photographs:,} photographs of {SIZE[0]} x {SIZE[1]}, {pace.precision}",
        f"open_clip, batches of {pace.batch}",
        figures,
        wall,
    )


@torch.inference_mode()
def _plain_loop(workload: Workload, pace: Pace, files: Sequence[Path]) -> Tensor:
    """What people write: open, preprocess, stack, encode."""
    half = pace.precision != "float32"
    parts = []
    for start in range(0, len(files), pace.batch):
        images = [Image.open(file).convert("RGB") for file in files[start : start + pace.batch]]
        pixels = torch.stack([workload.preprocess(image) for image in images])
        with torch.autocast(workload.device, torch.bfloat16, enabled=half):
            features = workload.model.encode_image(pixels.to(workload.device))
        parts.append(normalize(features.float(), dim=-1).cpu())
    return torch.cat(parts)


def _alternate(
    works: Mapping[str, Callable[[], object]], rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Run the works in turn: median seconds of CPU, and of the clock."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            cpu, wall = process_time(), perf_counter()
            work()
            taken[name].append((process_time() - cpu, perf_counter() - wall))
    return tuple(  # type: ignore[return-value]
        {name: median(pair[which] for pair in pairs) for name, pairs in taken.items()}
        for which in (0, 1)
    )


@contextmanager
def _photographs(count: int) -> Iterator[list[Path]]:
    """JPEG files of smooth noise, which takes about as long to decode as photographs."""
    random = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jpg" for number in range(count)]
        for file in files:
            small = random.integers(0, 256, (SIZE[1] // 8, SIZE[0] // 8, 3), dtype=np.uint8)
            Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC).save(file, quality=90)
        yield files


class _Remembered(ColourEncoder):
    """An encoder whose features cost nothing, and are kept."""

    image_fingerprint = "costs nothing"

    def encode_images(self, images: Sequence[Image.Image]) -> Tensor:
        return random_features(len(images), 512)


def _from_store() -> Row:
    """Ask for images as a second run does: nothing but the state of the files is looked at."""
    encoder = _Remembered()
    with TemporaryDirectory() as name:
        folder, cache = Path(name) / "images", Path(name) / "cache"
        folder.mkdir()
        files = [folder / f"{number}.png" for number in range(KEPT)]
        for number, file in enumerate(files):
            Image.new("RGB", (4, 4), number).save(file)
        fetch = partial(_fetch, cache, encoder, files)
        fetch()
        fetch()  # Files that changed within the last second were not settled.
        cpu, wall = _alternate({"store": fetch}, 3)
    return Row(
        f"{KEPT:,} images from the store",
        "",
        {
            "seconds": Figure(wall["store"], at_most=MOST_SECONDS),
            "microseconds of CPU an image": Figure(1e6 * cpu["store"] / KEPT),
        },
        wall,
    )


def _fetch(cache: Path, encoder: _Remembered, files: Sequence[Path]) -> Tensor:
    return FeatureStore(cache, encoder, _NO_LIMIT).fetch(files, LocalBackend())[:]
