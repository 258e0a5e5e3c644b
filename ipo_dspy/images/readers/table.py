"""Images listed in a table of paths and labels: CSV, TSV or JSON lines."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from ipo_dspy.errors import DataError
from ipo_dspy.images.labeled import LabeledImages
from ipo_dspy.images.names import Names
from ipo_dspy.images.readers.files import label_files

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (*_DELIMITERS, *_JSON_LINES)
"""The endings of tables."""


def read_table(
    path: str | os.PathLike[str],
    *,
    image: str = "path",
    label: str = "label",
    names: Names | None = None,
    skip_bad_images: bool = False,
) -> LabeledImages:
    """Read labelled images from a table, in its order.

    Args:
        path: a `.csv` or `.tsv` file with a header, or a `.jsonl` file of one object a line.
        image: the column of image paths; relative ones start at the table's folder.
        label: the column of classes.
        names: display text by class, or a file of it (see `read_classnames`); a class without
            an entry keeps its own name, with `_` read as a space.
        skip_bad_images: leave out images that cannot be read, with a warning that names them.

    Raises:
        DataError: the table is missing, of another form, lacks a column or a value; the class
            names do not do.
        UnreadableImage: an image cannot be read and `skip_bad_images` is off.
    """
    table = Path(path)
    files = []
    for number, row in _rows(table):
        file, stored = (_value(table, number, row, column) for column in (image, label))
        files.append((table.parent / file, stored))
    return label_files(files, names=names, skip_bad_images=skip_bad_images)


def _rows(table: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line number and content of every row."""
    suffix = table.suffix.lower()
    if suffix not in _DELIMITERS and suffix not in _JSON_LINES:
        raise DataError(f"{table} should end in .csv, .tsv or .jsonl to say how it is written")
    try:
        with table.open(encoding="utf-8-sig", newline="") as lines:
            if suffix in _DELIMITERS:
                reader = csv.DictReader(lines, delimiter=_DELIMITERS[suffix])
                for row in reader:
                    yield reader.line_num, row
            else:
                yield from _json_rows(table, lines)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the table {table} cannot be read ({error})") from error


def _json_rows(table: Path, lines: TextIO) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"line {number} of {table} is not valid JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"line {number} of {table} should be a JSON object")
        yield number, row


def _value(table: Path, number: int, row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        found = ", ".join(repr(name) for name in row)
        raise DataError(f"line {number} of {table} has no column {column!r}; it has {found}")
    value = row[column]
    if value is None or not str(value).strip():
        raise DataError(f"line {number} of {table} has nothing in the column {column!r}")
    return str(value).strip()
