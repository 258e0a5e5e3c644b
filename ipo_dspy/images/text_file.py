"""Text files that people have, in the encodings that their programs write."""

from __future__ import annotations

import codecs
import logging
import re
import stat
from pathlib import Path

from ipo_dspy.errors import DataError

logger = logging.getLogger(__name__)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WINDOWS = "cp1252"
# Words of Western Europe have their accents among plain letters; other scripts, read as this one,
# are long rows of accents or signs that no word has.
_WESTERN = re.compile(
    r"(?:[\x00-\x7f]|[’‘“”–—€°§](?![^\x00-\x7f])|[À-ÖØ-öø-ÿŒœŠšŽžŸß]{1,2}(?![^\x00-\x7f]))*"
)


def read_text(file: Path) -> str:
    """Read a text file: UTF-8, UTF-16 or UTF-32 with a mark, or plainly Windows-1252.

    The last is a guess, and said in a warning.

    Raises:
        DataError: it is missing, no regular file, or in no encoding that can be told.
    """
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise DataError(f"{file} is a folder, a pipe or a device; give a text file")
        content = file.read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{file} cannot be read: {why}") from error
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        told = f"{file} is not {encoding.removesuffix('-sig').upper()} (line {line})"
        if encoding == "utf-8" and (guess := _western(content)) is not None:
            logger.warning("%s; it is read as Windows-1252.", told)
            return guess
        raise DataError(f"{told}; save it as UTF-8") from error


def _western(content: bytes) -> str | None:
    try:
        text = content.decode(_WINDOWS)
    except UnicodeDecodeError:
        return None
    return text if _WESTERN.fullmatch(text) else None
