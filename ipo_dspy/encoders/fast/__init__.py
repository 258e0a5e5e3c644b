"""The quick text path of causal text towers, behind `fast_text_tower`.

What one needs of this folder is here. Where it is switched off, or does not apply, texts go through
the text towers of the libraries, slower and otherwise the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ipo_dspy.encoders.fast.off import FastPathOffError, MisfitError
from ipo_dspy.errors import ArgumentError

if TYPE_CHECKING:
    from torch import Tensor

    from ipo_dspy.encoders.fast.tower import CausalTextTower

SWITCH = "IPO_DSPY_FAST_TEXT"
"""Names the environment variable that switches the path `off`; else it is `on`."""
_LARGEST_DIFFERENCE = 1e-4

__all__ = ["SWITCH", "FastPathOffError", "MisfitError", "fast_text_tower", "read_text_tower"]


def fast_text_tower(
    read: Callable[[], CausalTextTower],
    encode: Callable[[CausalTextTower], Tensor],
    expected: Callable[[], Tensor],
) -> CausalTextTower:
    """Read a text tower, and compare what it gives with what its library gives.

    Args:
        read: gives the tower.
        encode: the features of some texts by a tower, [T, D] unit length.
        expected: the features of the same texts by the library.

    Raises:
        FastPathOffError: the library's own tower is to be used; the message says why.
        ArgumentError: the environment says neither on nor off.
    """
    switch = os.environ.get(SWITCH, "").lower() or "on"
    if switch not in ("on", "off"):
        raise ArgumentError(f"{SWITCH} must be 'on' or 'off', not {switch!r}")
    if switch == "off":
        raise FastPathOffError(f"{SWITCH} is off")
    # It reads what the libraries keep to themselves, and another version may name otherwise.
    try:
        tower = read()
        found = encode(tower)
    except (ImportError, AttributeError, TypeError, RuntimeError) as error:
        raise MisfitError(f"it does not fit the version of the library: {error}") from error
    difference = (found - expected()).abs().max().item()
    if not difference <= _LARGEST_DIFFERENCE:
        raise MisfitError(f"its features differ from the library's by {difference:.1e}")
    return tower


def read_text_tower(model: Any) -> CausalTextTower:
    """Read the text tower of a model of open_clip or transformers.

    Raises:
        FastPathOffError: it is not causal, or made of other parts.
    """
    library = type(model).__module__.partition(".")[0]
    if library == "open_clip":
        from ipo_dspy.encoders.fast.open_clip import read_open_clip_text_tower

        return read_open_clip_text_tower(model)
    if library == "transformers":
        from ipo_dspy.encoders.fast.transformers import read_transformers_text_tower

        return read_transformers_text_tower(model)
    raise FastPathOffError(f"a {type(model).__name__} is no model of open_clip or transformers")
