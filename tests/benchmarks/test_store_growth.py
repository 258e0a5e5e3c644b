from __future__ import annotations

import pytest

from benchmarks import store_growth
from benchmarks.store_growth import Cost, exponent, markdown, measure
from ipo_dspy.features import store


def test_a_store_of_two_writers_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_growth, "BLOCK", 64)
    monkeypatch.setattr(store, "IMAGES_PER_FILE", 16)
    found = measure(1000, width=4)
    # A file of features and one of hashes for each shard: what is there is not made again.
    assert found["files"] == 2 * 63
    origin = {key: "" for key in ("command", "date", "commit", "machine", "uncommitted_changes")}
    assert "| 1,000 |" in markdown(found, origin)


def test_the_exponent_is_that_of_the_cost_of_all() -> None:
    squared = [Cost(n, 100, 2.0 * n - 1) for n in range(1, 200)]
    assert exponent(squared) == pytest.approx(2.0, abs=0.02)
    assert exponent([Cost(n, 100, 3.0) for n in range(1, 200)]) == pytest.approx(1.0)
