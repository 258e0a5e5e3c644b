from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ipo_dspy.errors import StorageError
from ipo_dspy.features.cache import CACHE_GB, info

Run = Callable[..., Any]


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


@pytest.mark.parametrize("option", [("--backend", "rai"), ("--address", "10.0.0.1:6379")])
def test_a_backend_that_is_none_is_said(run: Run, pictures: Path, option: tuple[str, str]) -> None:
    outcome = run("embed", pictures, *option)
    assert outcome.code == 1
    assert option[1] in outcome.err


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_ray_fills_the_store_that_every_backend_reads(run: Run, pictures: Path) -> None:
    outcome = run("embed", pictures, "--backend", "ray")
    assert "30 images: 30 embedded" in outcome.out
    assert "30 kept before" in run("embed", pictures).out
