"""`ipo-dspy cache`: the image features that are kept between runs."""

from __future__ import annotations

from cyclopts import App
from rich import box
from rich.table import Table
from rich.text import Text

from ipo_dspy.features import cache as features_cache
from ipo_dspy.terminal.output import results

cache = App(name="cache", help="Show or remove the image features that are kept between runs.")
_UNREADABLE = "files that cannot be read"


@cache.command
def info() -> None:
    """Show what is kept, for which encoder, and how much there may be."""
    found = features_cache.info()
    if found.folder is None:
        results.print(f"No features are kept: {features_cache.CACHE} is 'off'.")
        return
    results.print(f"Image features are kept in {found.folder}", soft_wrap=True)
    if found.encoders:
        table = Table(box=box.SIMPLE_HEAD)
        table.add_column("encoder", overflow="fold")
        table.add_column("images", justify="right")
        table.add_column("size", justify="right")
        for encoder in found.encoders:
            name = Text(encoder.spec or _UNREADABLE)
            table.add_row(name, f"{encoder.images:,}", megabytes(encoder.bytes))
        results.print(table)
    results.print(f"{megabytes(found.bytes)} of at most {megabytes(found.limit)}.")


@cache.command
def clear() -> None:
    """Remove all features; they are made again when they are needed."""
    removed = features_cache.clear()
    results.print(f"Removed the features of {removed.images:,} images, {megabytes(removed.bytes)}.")


def megabytes(size: int) -> str:
    """Write a number of bytes in megabytes."""
    return f"{size / 1e6:,.1f} MB"
