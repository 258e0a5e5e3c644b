"""The figures of several prompts on the same images, as rows, and as files."""

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


def check_out(out: Path) -> None:
    """Refuse a file whose ending says of no table how it is written, or that is another's.

    Raises:
        ArgumentError: it is none of `.csv`, `.json` and `.md`, or it is there and no such table.
    """
    if out.suffix not in _WRITERS:
        raise ArgumentError(
            f"{out} ends in {out.suffix or 'nothing'}; a table is written as {', '.join(_WRITERS)}."
        )
    if out.is_file() and not out.read_bytes().startswith(_BEGINNINGS[out.suffix]):
        raise ArgumentError(
            f"{out} is there already and is no table that this command wrote; name another file "
            "with --out, or move it away."
        )


def write_rows(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the rows to a file, in the form that its ending says."""
    with path.open("w", encoding="utf-8", newline="") as file:
        _WRITERS[path.suffix](rows, file)


def _write_csv(rows: list[dict[str, Any]], file: TextIO) -> None:
    writer = csv.DictWriter(file, list(rows[0]), quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    writer.writerows({**row, "prompt": guarded(row["prompt"])} for row in rows)


def _write_json(rows: list[dict[str, Any]], file: TextIO) -> None:
    file.write(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode() + "\n")


def _write_markdown(rows: list[dict[str, Any]], file: TextIO) -> None:
    lines = ["| prompt | accuracy % | 95 % | loss | p to the first |", "|---|---|---|---|---|"]
    for row in rows:
        prompt = row["prompt"].replace("|", "\\|").replace("\n", " / ")
        p = "" if row["p"] is None else f"{row['p']:.2g}"
        interval = f"{row['low']:.1f} to {row['high']:.1f}"
        lines.append(
            f"| `{prompt}` | {row['accuracy']:.2f} | {interval} | {row['loss']:.4f} | {p} |"
        )
    file.write("\n".join(lines) + "\n")


_WRITERS: Mapping[str, Callable[[list[dict[str, Any]], TextIO], None]] = MappingProxyType(
    {".csv": _write_csv, ".json": _write_json, ".md": _write_markdown}
)
_BEGINNINGS: Mapping[str, bytes] = MappingProxyType(
    {".csv": b'"prompt","accuracy"', ".json": b'[\n  {\n    "prompt":', ".md": b"| prompt |"}
)
"""What the tables begin with, by which they are known again."""
