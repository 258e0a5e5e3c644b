"""Why the quick text path is off."""

from __future__ import annotations

from ipo_dspy.errors import IPOError


class FastPathOffError(IPOError):
    """The library's own text tower is used; the message says why."""


class MisfitError(FastPathOffError):
    """The quick path was written for a text tower that the library does not have any more."""
