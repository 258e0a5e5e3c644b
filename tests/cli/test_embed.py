import contextlib
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ipo_dspy.errors import StorageError
from ipo_dspy.features import cluster
from ipo_dspy.features.cache import CACHE_GB, info

Run = Callable[..., Any]
PATIENCE = 200.0


def test_what_is_kept_is_not_embedded_again(run: Run, pictures: Path) -> None:
    assert "30 images: 30 embedded, 0 kept before, 0 cannot be read" in run("embed", pictures).out
    assert info().images == 30
    assert "30 images: 0 embedded, 30 kept before" in run("embed", pictures).out


def test_a_bad_image_costs_itself_and_is_listed(run: Run, pictures: Path) -> None:
    bad = Path("bad.png").absolute()
    bad.write_bytes(b"no picture")
    table = Path("images.csv")
    rows = [*sorted(pictures.rglob("*.png")), bad]
    table.write_text("path\n" + "".join(f"{row}\n" for row in rows))
    outcome = run("embed", table, "--errors", "errors.txt")
    assert outcome.code == 0
    assert "31 images: 30 embedded, 0 kept before, 1 cannot be read" in outcome.out
    assert "bad.png" in outcome.err
    assert "bad.png" in Path("errors.txt").read_text()


def test_nothing_is_removed_to_make_room(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_GB, "0.000001")
    outcome = run("embed", pictures)
    assert outcome.code == 1
    assert CACHE_GB in outcome.err
    assert info().images == 30
    assert issubclass(StorageError, OSError)


def test_copies_of_a_bad_image_are_bad(run: Run) -> None:
    Path("bad").mkdir()
    for name in ("one.png", "other.png"):
        Path("bad", name).write_bytes(b"no picture")
    assert "2 images: 0 embedded, 0 kept before, 2 cannot be read" in run("embed", "bad").out


def test_a_folder_without_images_is_said(run: Run, tmp_path: Path) -> None:
    outcome = run("embed", tmp_path)
    assert outcome.code == 1
    assert "no images" in outcome.err


@pytest.mark.slow
def test_one_content_is_found_wherever_it_lies(run: Run, pictures: Path, tmp_path: Path) -> None:
    files = sorted(pictures.rglob("*.png"))
    with tarfile.open(tmp_path / "shard-0.tar", "w") as tar:
        for number, file in enumerate(files[:20]):
            tar.add(file, f"{number}.png")
    memory = fsspec.filesystem("memory")
    for number, file in enumerate(files):
        memory.pipe_file(f"/bucket/{number}.png", file.read_bytes())

    assert "20 embedded, 0 kept before" in run("embed", tmp_path / "shard-0.tar").out
    assert "10 embedded, 20 kept before" in run("embed", "memory://bucket").out
    assert "0 embedded, 20 kept before" in run("embed", tmp_path / "*.tar").out
    assert "0 embedded, 30 kept before" in run("embed", pictures).out
    memory.rm("/bucket", recursive=True)


@pytest.mark.parametrize("option", [("--backend", "rai"), ("--address", "10.0.0.1:6379")])
def test_a_backend_that_is_none_is_said(run: Run, pictures: Path, option: tuple[str, str]) -> None:
    outcome = run("embed", pictures, *option)
    assert outcome.code == 1
    assert option[1] in outcome.err


@pytest.mark.slow
def test_a_killed_driver_leaves_its_shards_and_nothing_that_runs(
    run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    folder, cache = tmp_path / "many", tmp_path / "cache"
    folder.mkdir()
    drawn = [file.read_bytes() for file in sorted(pictures.rglob("*.png"))]
    for number in range(2000):
        # The same pixels in other bytes are another image.
        (folder / f"{number}.png").write_bytes(drawn[number % len(drawn)] + str(number).encode())
    monkeypatch.setenv("IPO_DSPY_CACHE", str(cache))
    command = [sys.executable, "-m", "ipo_dspy.cli", "embed", str(folder), "--backend", "ray"]
    driver = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    while not list((cache / "features").glob("*/*.safetensors")) and time.monotonic() < end:
        assert driver.poll() is None
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    mark = f"ipo-dspy-ray-{driver.pid}-"
    while processes_of(mark) and time.monotonic() < end:
        time.sleep(0.2)
    assert processes_of(mark) == []
    cluster.remove_left_behind()
    assert not list(Path("/tmp").glob(f"{mark}*"))

    before = info().images
    assert before > 0
    assert f"2,000 images: {2000 - before:,} embedded, {before:,} kept" in run("embed", folder).out


def processes_of(mark: str) -> list[str]:
    """The command lines of processes that name files so."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if mark in words:
                found.append(words)
    return found


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_fills_the_store_that_every_backend_reads(run: Run, pictures: Path) -> None:
    outcome = run("embed", pictures, "--backend", "ray")
    assert "30 images: 30 embedded" in outcome.out
    assert "30 kept before" in run("embed", pictures).out
