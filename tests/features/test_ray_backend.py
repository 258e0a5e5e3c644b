import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

from ipo_dspy import IPOOptimizer, registry
from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.features.backends import EmbeddingJob, LocalBackend, make_backend
from ipo_dspy.testing import ColourEncoder, check_backend

pytest.importorskip("ray")

from ipo_dspy.features import ray_backend
from ipo_dspy.features.ray_backend import RayBackend

ray_needed = pytest.mark.usefixtures("ray_cluster")


def draw(folder: Path, colours: Sequence[tuple[int, int, int]]) -> list[Path]:
    files = [folder / f"{number}.png" for number in range(len(colours))]
    for file, colour in zip(files, colours, strict=True):
        PIL.Image.new("RGB", (8, 8), colour).save(file)
    return files


class Deadly(ColourEncoder):
    """Ends its process at every black picture, and at white ones until a file is there."""

    def __init__(self, flag: Path) -> None:
        super().__init__()
        self.flag = flag

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        for image in images:
            colour = image.getpixel((0, 0))
            if colour == (0, 0, 0):
                os._exit(1)
            if colour == (255, 255, 255) and not self.flag.exists():
                self.flag.touch()
                os._exit(1)
        return super().encode_images(images)


class Signing(ColourEncoder):
    """Leaves a file named by its process wherever it embeds, and takes its time."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        (self.folder / str(os.getpid())).touch()
        time.sleep(0.1)
        return super().encode_images(images)


@pytest.mark.slow
@ray_needed
@pytest.mark.usefixtures("by_value")
def test_workers_killed_from_outside_cost_time_and_nothing_else(tmp_path: Path) -> None:
    files = draw(tmp_path, [(n, 255 - n, 100) for n in range(200)])
    killed: set[str] = set()
    over = threading.Event()
    folder = tmp_path / "processes"
    folder.mkdir()

    def kill() -> None:
        while not over.wait(0.05):
            for process in {file.name for file in folder.iterdir()} - killed:
                # More often than an image may end its worker.
                if len(killed) < 5:
                    killed.add(process)
                    os.kill(int(process), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        job = EmbeddingJob(Signing(folder), files, 4096)
        shards = list(RayBackend(workers=2, retries=1).run(job))
    finally:
        over.set()
        killer.join()
    assert len(killed) == 5
    assert not [error for shard in shards for error in shard.errors]
    numbers = [number for shard in shards for number in shard.numbers]
    assert sorted(numbers) == list(range(200))
    [expected] = LocalBackend().run(EmbeddingJob(ColourEncoder(), files, 4096))
    assert torch.equal(torch.cat([shard.features for shard in shards]), expected.features[numbers])


class Unloadable(ColourEncoder):
    """Ends the process that loads it."""

    def __reduce__(self) -> Any:
        return os._exit, (1,)


@pytest.mark.slow
@ray_needed
@pytest.mark.usefixtures("by_value")
def test_an_encoder_that_ends_every_process_ends_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_backend, "PATIENCE_SECONDS", 1)
    job = EmbeddingJob(Unloadable(), draw(tmp_path, [(1, 2, 3), (4, 5, 6)]), 4)
    with pytest.raises(EncoderError, match="died"):
        list(RayBackend(workers=1, retries=0).run(job))


class Faulty(ColourEncoder):
    def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        raise RuntimeError("no memory")


@pytest.fixture
def by_value() -> Any:
    """Send the classes of this file to processes that cannot import it."""
    import ray.cloudpickle

    module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(module)
    yield
    ray.cloudpickle.unregister_pickle_by_value(module)


@pytest.mark.slow
@ray_needed
def test_the_ray_backend_keeps_the_promises(tmp_path: Path) -> None:
    check_backend(RayBackend(workers=1), tmp_path)


@pytest.mark.slow
@ray_needed
def test_its_bits_are_those_of_the_local_backend(tmp_path: Path) -> None:
    from ipo_dspy import load_encoder

    files = draw(tmp_path, [(n, 2 * n, 255 - n) for n in range(100)])
    job = EmbeddingJob(load_encoder("demo", device="cpu", precision="float32"), files, 4096)
    found = torch.empty((100, 0))
    for shard in RayBackend(workers=2).run(job):
        if not found.numel():
            found = torch.empty((100, shard.features.shape[1]))
        found[list(shard.numbers)] = shard.features
    [expected] = LocalBackend().run(job)
    assert torch.equal(found, expected.features)


@pytest.mark.slow
@ray_needed
@pytest.mark.usefixtures("by_value")
def test_a_worker_that_dies_costs_its_shard_alone_and_a_deadly_image_itself(
    tmp_path: Path,
) -> None:
    files = draw(tmp_path, [(255, 255, 255), (0, 0, 0), (200, 30, 30)])
    job = EmbeddingJob(Deadly(tmp_path / "flag"), files, shard_size=1)
    shards = list(RayBackend(workers=2, retries=1).run(job))
    assert sorted(n for shard in shards for n in shard.numbers) == [0, 2]
    [errors] = [shard.errors for shard in shards if shard.errors]
    assert list(errors) == [1]
    assert files[1].name in errors[1]


@pytest.mark.slow
@ray_needed
@pytest.mark.usefixtures("by_value")
def test_an_error_of_the_encoder_ends_the_job(tmp_path: Path) -> None:
    job = EmbeddingJob(Faulty(), draw(tmp_path, [(1, 2, 3)]), 4)
    with pytest.raises(EncoderError, match="no memory"):
        list(RayBackend(workers=1).run(job))


class Bound(ColourEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.slow
@ray_needed
def test_an_encoder_that_cannot_be_sent_is_said(tmp_path: Path) -> None:
    job = EmbeddingJob(Bound(), draw(tmp_path, [(1, 2, 3)]), 4)
    with pytest.raises(EncoderError, match="__reduce__"):
        list(RayBackend(workers=1).run(job))


def test_names_and_instances_are_backends() -> None:
    assert registry.find("backends", "ray") is RayBackend
    backend = make_backend("ray", "10.0.0.1:6379")
    assert isinstance(backend, RayBackend)
    assert backend.address == "10.0.0.1:6379"
    assert isinstance(pickle.loads(pickle.dumps(backend)), RayBackend)
    assert make_backend(backend) is backend
    assert IPOOptimizer(backend="ray").backend.workers is None
    with pytest.raises(ArgumentError, match="address"):
        make_backend("local", "10.0.0.1:6379")
    with pytest.raises(ArgumentError):
        RayBackend(workers=0)


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ArgumentError, match=r"ipo-dspy\[ray\]"):
        make_backend("ray")
