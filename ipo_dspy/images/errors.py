"""The errors that data may raise, each a sentence that says what to do."""

from __future__ import annotations


class DataError(ValueError):
    """The images, labels or folders given cannot be used as they are."""


class UnreadableImage(DataError):  # noqa: N818
    """One image cannot be opened or decoded in full."""
