from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ray")

from benchmarks.ray_kills.__main__ import markdown, measure
from benchmarks.ray_kills.driver import Fragile
from ipo_dspy.features.store import CacheableEncoder


def test_the_fragile_encoder_is_kept_like_any_other() -> None:
    assert isinstance(Fragile(), CacheableEncoder)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_what_is_kept_are_the_bits_of_one_process() -> None:
    found = measure(images=100, workers=[2], every=5)
    assert found["equal"] is True
    assert [error.partition(" ")[0] for error in found["errors"]] == ["damaged.png", "deadly.png"]
    assert found["runs"][-1]["ended"] is True
    assert found["runs"][-1]["kept"] == 100
    origin = {key: "" for key in ("command", "date", "commit", "machine", "uncommitted_changes")}
    assert "| 1 | 2 |" in markdown(found, origin)
