"""Prompts that were published, to be scored on the images at hand."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files

from ipo_dspy.errors import ArgumentError


def published_prompts(source: str) -> Mapping[str, str]:
    """The templates of one publication, by benchmark, as they were printed.

    Args:
        source: `poster`, the best of one shot, or `table17`, the best of 16 shots; both of IPO
            (NeurIPS 2024).

    Raises:
        ArgumentError: there is no such source.
    """
    table = tomllib.loads(files(__package__).joinpath("published.toml").read_text("utf-8"))
    if source not in table:
        raise ArgumentError(
            f"No published prompts are known as {source!r}; give {' or '.join(map(repr, table))}."
        )
    prompts: dict[str, str] = table[source]
    return prompts
