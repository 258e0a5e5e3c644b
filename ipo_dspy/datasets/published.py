"""Prompts that were published, to be scored on the images at hand."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files

from ipo_dspy.datasets.catalog import BASE_TO_NOVEL
from ipo_dspy.errors import ArgumentError

_HAND_WRITTEN = "coop"
_OTHER_NAMES = {"iclr16": "table17"}


def published_prompts(source: str) -> Mapping[str, str]:
    """The templates of one publication, by benchmark, as they were printed.

    Args:
        source: `poster`, the best of one shot, or `table17`, also `iclr16`, the best of 16 shots,
            both of IPO (NeurIPS 2024); or `coop`, those written by hand for CoOp (IJCV 2022).

    Raises:
        ArgumentError: there is no such source.
    """
    table = tomllib.loads(files(__package__).joinpath("published.toml").read_text("utf-8"))
    table[_HAND_WRITTEN] = {data.name: data.template.text for data in BASE_TO_NOVEL}
    source = _OTHER_NAMES.get(source, source)
    if source not in table:
        raise ArgumentError(
            f"No published prompts are known as {source!r}; give {' or '.join(map(repr, table))}."
        )
    prompts: dict[str, str] = table[source]
    return prompts
