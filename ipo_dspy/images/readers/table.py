"""Images listed in a table of paths and labels: CSV, TSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from ipo_dspy.errors import DataError
from ipo_dspy.errors.arguments import checked
from ipo_dspy.images.labeled import LabeledImages
from ipo_dspy.images.names import Names
from ipo_dspy.images.readers.files import label_files
from ipo_dspy.images.text_file import read_text

_SEPARATORS = {".csv": ",;\t|", ".tsv": "\t,;|"}
"""What may stand between columns, the likeliest first."""
_JSON_LINES = (".jsonl", ".ndjson")
TABLE_SUFFIXES = (*_SEPARATORS, *_JSON_LINES)
"""The endings of tables."""


@checked
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
        path: a `.csv` or `.tsv` file with a header, its columns apart by commas, semicolons, tabs
            or bars, or a `.jsonl` file of one object a line.
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
    files = list_table(Path(path), image, label)
    return label_files(files, names=names, skip_bad_images=skip_bad_images)


def list_table(path: Path, image: str = "path", label: str = "label") -> list[tuple[Path, str]]:
    """List image files with their classes, without decoding any.

    Raises:
        DataError: see `read_table`.
    """
    table = path.expanduser()
    files = []
    for number, row in _rows(table, (image, label)):
        file, stored = (_value(table, number, row, column) for column in (image, label))
        files.append((_place(table.parent, file), stored))
    if not files:
        raise DataError(f"{table} has no rows; give a line to each image, below the header")
    return files


def image_column(path: Path, image: str = "path") -> Iterator[Path | str]:
    """Give the images of a table, which needs no labels; addresses stay as they are.

    Args:
        path: see `read_table`.
        image: the column of image paths or addresses.

    Raises:
        DataError: see `read_table`.
    """
    for number, row in _rows(path, (image,)):
        file = _value(path, number, row, image)
        is_address = "://" in file or file.startswith("data:")
        yield file if is_address else _place(path.parent, file)


def table_paths(path: str | os.PathLike[str], image: str = "path") -> list[Path]:
    """List the images of a table, whether it has labels or not.

    Args:
        path: as for `read_table`.
        image: the column of image paths; relative ones start at the table's folder.

    Raises:
        DataError: the table is missing, of another form, or lacks the column or a value.
    """
    table = Path(path).expanduser()
    rows = _rows(table, (image,))
    return [_place(table.parent, _value(table, number, row, image)) for number, row in rows]


def _place(folder: Path, file: str) -> Path:
    place = folder / file
    if "\\" in file and not place.exists():
        # Written on Windows.
        place = folder / file.replace("\\", "/")
    return place


def _rows(table: Path, columns: Sequence[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Line number and content of every row."""
    suffix = table.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise DataError(f"{table} should end in .csv, .tsv or .jsonl to say how it is written")
    text = read_text(table)
    if suffix in _JSON_LINES:
        return _json_rows(table, text)
    return _separated_rows(table, text, columns)


def _separated_rows(
    table: Path, text: str, columns: Sequence[str]
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if text[:4].lower() == "sep=":
        # What Excel puts in front to name the separator.
        text = text.partition("\n")[2]
    separators = _SEPARATORS[table.suffix.lower()]
    try:
        headers = [_header(text, separator) for separator in separators]
        chosen = next((i for i, h in enumerate(headers) if set(columns) <= set(h)), 0)
        header = headers[chosen]
        for column in columns:
            if header and column not in header:
                raise DataError(f"the header of {table} {_lacks(column, header)}")
            if header.count(column) > 1:
                raise DataError(f"{table} has the column {column!r} twice; rename one of them")
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separators[chosen])
        next(reader, None)
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) > len(header):
                raise DataError(
                    f"line {reader.line_num} of {table} has {len(fields)} fields, but the header "
                    f"has {len(header)}; put texts with {separators[chosen]!r} in quotes"
                )
            yield reader.line_num, dict(zip_longest(header, fields))
    except csv.Error as error:
        raise DataError(f"the table {table} cannot be read ({error})") from error


def _header(text: str, separator: str) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return [name.strip() for name in next(reader, [])]


def _json_rows(table: Path, text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            why = f"{error.msg}, column {error.colno}"
            raise DataError(f"line {number} of {table} is not valid JSON: {why}") from error
        except RecursionError as error:
            raise DataError(f"line {number} of {table} is nested too deeply") from error
        if not isinstance(row, dict):
            raise DataError(f"line {number} of {table} should be a JSON object")
        yield number, row


def _lacks(column: str, known: Iterable[str]) -> str:
    found = ", ".join(map(repr, known))
    return f"has no column {column!r}; it has {found}; rename the one that is meant to {column!r}"


def _value(table: Path, number: int, row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        raise DataError(f"line {number} of {table} {_lacks(column, row)}")
    value = row[column]
    if isinstance(value, bool | list | dict):
        raise DataError(
            f"line {number} of {table} has {json.dumps(value)[:80]} in the column {column!r}; "
            "expected a text or a number"
        )
    if value is None or not str(value).strip():
        raise DataError(f"line {number} of {table} has nothing in the column {column!r}")
    return str(value).strip()
