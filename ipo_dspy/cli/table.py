"""What commands show as a table, as rows, and as files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO

import orjson

from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.labels import guarded
from ipo_dspy.scoring.comparison import Comparison, Evaluation


def rows_of(names: list[str], evaluations: list[Evaluation]) -> list[dict[str, Any]]:
    """One row a prompt: Wilson's interval of its accuracy, McNemar's p against the first one."""
    first = evaluations[0]
    return [
        {
            "prompt": name,
            "accuracy": each.score.accuracy,
            **dict(zip(("low", "high"), each.interval, strict=True)),
            "loss": each.score.loss,
            "right": sum(each.hits),
            "images": len(each.hits),
            "p": None if each is first else Comparison("all", first, each).p_value,
        }
        for name, each in zip(names, evaluations, strict=True)
    ]


def check_out(out: Path, first: str = "prompt") -> None:
    """Refuse a file whose ending says of no table how it is written, or that is another's.

    Args:
        out: the file.
        first: the first column of the table.

    Raises:
        ArgumentError: it is none of `.csv`, `.json` and `.md`, or it is there and no such table.
    """
    if out.suffix not in _WRITERS:
        raise ArgumentError(
            f"{out} ends in {out.suffix or 'nothing'}; a table is written as {', '.join(_WRITERS)}."
        )
    beginning = _BEGINNINGS[out.suffix].format(first).encode()
    if out.is_file() and not out.read_bytes().startswith(beginning):
        raise ArgumentError(
            f"{out} is there already and is no table that this command wrote; name another file "
            "with --out, or move it away."
        )


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the rows, of which there is one at least, in the form that the file's ending says."""
    with path.open("w", encoding="utf-8", newline="") as file:
        _WRITERS[path.suffix](rows, file)


def _write_csv(rows: list[dict[str, Any]], file: TextIO) -> None:
    writer = csv.DictWriter(file, list(rows[0]), quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    for row in rows:
        safe = {n: guarded(value) if isinstance(value, str) else value for n, value in row.items()}
        writer.writerow(safe)


def _write_json(rows: list[dict[str, Any]], file: TextIO) -> None:
    file.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")


def _write_markdown(rows: list[dict[str, Any]], file: TextIO) -> None:
    heads = [_HEADS.get(name, name) for name in rows[0]]
    cells = [[_cell(name, value) for name, value in row.items()] for row in rows]
    for line in (heads, ["---"] * len(heads), *cells):
        file.write(f"| {' | '.join(line)} |\n")


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return format(value, {"p": ".2g", "loss": ".4f"}.get(name, ".2f"))
    text = str(value).replace("|", "\\|").replace("\n", " / ")
    return f"`{text}`" if name == "prompt" and text else text


_HEADS: Mapping[str, str] = MappingProxyType(
    {
        "accuracy": "accuracy %",
        "low": "95 % from",
        "high": "to",
        "p": "p to the first",
        "ended": "has ended",
        "written": "last written",
    }
)
_WRITERS: Mapping[str, Callable[[list[dict[str, Any]], TextIO], None]] = MappingProxyType(
    {".csv": _write_csv, ".json": _write_json, ".md": _write_markdown}
)
_BEGINNINGS: Mapping[str, str] = MappingProxyType(
    {".csv": '"{}",', ".json": '[\n  {{\n    "{}":', ".md": "| {} |"}
)
"""What the tables begin with, by which they are known again."""
