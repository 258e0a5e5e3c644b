from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def cached(run: Run, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with the features of thirty pictures in the cache."""
    monkeypatch.setenv("IPO_DSPY_CACHE", str(tmp_path / "cache"))
    run("evaluate", "a chalk drawing of a <CLASS>", pictures)
    return run


def test_info_counts_the_features_of_each_encoder(cached: Run) -> None:
    [row] = [line.split() for line in cached("cache", "info").out.splitlines() if "demo" in line]
    assert row[:2] == ["demo", "30"]


def test_clear_removes_what_info_showed(cached: Run, tmp_path: Path) -> None:
    assert "features of 30 images" in cached("cache", "clear").out
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert "0.0 MB of at most" in cached("cache", "info").out


def test_a_cache_that_is_off_is_said_to_be(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPO_DSPY_CACHE", "off")
    assert "No features are kept" in run("cache", "info").out
