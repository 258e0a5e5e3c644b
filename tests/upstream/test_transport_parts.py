"""Whether answers still come in where they are watched."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import dspy
import pytest

from ipo_dspy.upstream.transport_parts import watched


@pytest.mark.parametrize("settings", [{}, {"headers": {"X-Of": "mine"}}], ids=["DSPy", "LiteLLM"])
def test_the_bytes_of_an_answer_are_counted(
    serve_lm: Callable[..., AbstractContextManager[dspy.LM]], settings: dict[str, Any]
) -> None:
    sizes: list[int] = []
    with serve_lm(content="x" * 100_000, **settings) as lm:
        with watched(sizes.append):
            lm("hello")
        assert max(sizes) > 100_000
        assert sizes == sorted(sizes)
        seen = len(sizes)
        lm("hello again")
    assert len(sizes) == seen
