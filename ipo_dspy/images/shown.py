"""Images and tables as HTML, for notebooks and reports; every text is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO

from ipo_dspy.errors import ArgumentError, UnreadableImage
from ipo_dspy.images.image import ImageSource, open_image
from ipo_dspy.records import visible

_PIXELS = 160
_QUALITY = 78
_LONGEST = 300


def thumbnail(image: ImageSource) -> str:
    """Make a small JPEG of an image, as a `data:` address; empty where it cannot be read."""
    try:
        small = open_image(image)
    except (UnreadableImage, ArgumentError):
        return ""
    small.thumbnail((_PIXELS, _PIXELS))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def picture(image: ImageSource) -> str:
    """An image as an HTML element; a word where it cannot be read."""
    address = thumbnail(image)
    return f'<img src="{address}" style="max-height:6em">' if address else "<i>unreadable</i>"


def cell(value: object) -> str:
    """A text or a number for a table: escaped, short, and without hidden characters."""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    shown = visible(text[:_LONGEST])
    return escape(shown if len(text) <= _LONGEST else f"{shown} ...")


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already, below a title that is not."""
    head = "".join(f"<th>{cell(name)}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{each}</td>" for each in row) + "</tr>"
        for row in rows
    )
    return f"<p><b>{cell(title)}</b></p><table><tr>{head}</tr>{body}</table>"
