"""Labels of images as a table: CSV, JSON lines or Parquet, for spreadsheets and for programs."""

from __future__ import annotations

import csv
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import checked, shown
from ipo_dspy.images.image import ImageFile, ImageSource
from ipo_dspy.programs.labelling import LabelledImage
from ipo_dspy.runs.folder import write_whole

_FORMULA = re.compile(r"(^|[;\t\r\n])(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")
"""Before what a spreadsheet takes for the beginning of a formula, full-width signs included.

Quotes keep semicolons and line breaks in the first cell of a line alone, where cells end with
another sign than ours.
"""
_ROWS_OF_PARQUET = 10_000
_LONGEST_ADDRESS = 200
_DIGITS = 6
"""Of probabilities in texts."""


@dataclass(frozen=True)
class LabelCounts:
    """How many images were labelled, fell below the threshold, and could not be read."""

    labelled: int
    below: int
    unreadable: int
    per_class: Counter[str]


@checked
def write_labels(labels: Iterable[LabelledImage], path: str | Path) -> LabelCounts:
    """Write labels as they come; the file is there when all are, and replaces what was there.

    Columns are `path`, `label` (empty below the threshold), `probability` of the best guess,
    `error` of images that cannot be read, and all guesses: in CSV as `top_1`, `probability_1` and
    so on, else as one column `top` of labels and probabilities. Relative paths start at the file's
    folder, so that `read_table` reads it again. In CSV nothing begins as a formula does: such a
    path gets `./` in front, and any other text an apostrophe. Names of files that are no UTF-8
    are written with escapes such as `\\xff`. Texts are in quotes, since spreadsheets of some
    languages take semicolons for the ends of cells.

    Args:
        labels: what `label_images` gives.
        path: a file that ends in `.csv`, `.tsv`, `.jsonl` or `.parquet`, which needs pyarrow.

    Raises:
        ArgumentError: the ending is another one, or pyarrow is missing.
        StorageError: the file cannot be written.
    """
    file = Path(path)
    write = check_labels_file(file)
    counted: Counter[str] = Counter()
    per_class: Counter[str] = Counter()

    def rows() -> Iterator[_Row]:
        for each in labels:
            if not isinstance(each, LabelledImage):
                raise ArgumentError(
                    f"labels must be what label_images gives, got {shown(each)} among them."
                )
            counted["unreadable" if each.error else "below" if each.label is None else "ok"] += 1
            if each.label is not None:
                per_class[each.label] += 1
            yield _Row(_place(each.image, file.parent), each)

    write_whole(file, lambda unfinished: write(unfinished, rows()))
    return LabelCounts(counted["ok"], counted["below"], counted["unreadable"], per_class)


def check_labels_file(path: Path) -> Writer:
    """Find who writes labels to a file of this name.

    Raises:
        ArgumentError: see `write_labels`.
    """
    suffix = path.suffix.lower()
    if suffix not in _WRITERS:
        raise ArgumentError(
            f"{path} should end in {', '.join(_WRITERS)} to say how labels are written."
        )
    if suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise ArgumentError(
                f"{path} needs pyarrow, which is not installed: pip install 'ipo-dspy[parquet]', "
                "or write .csv or .jsonl."
            ) from error
    return _WRITERS[suffix]


def is_labels_file(path: Path) -> bool:
    """Tell whether a file is one that `write_labels` wrote, judged by its columns."""
    try:
        return _read_columns(path)[: len(_COLUMNS)] == _COLUMNS
    except (OSError, TypeError, ValueError, csv.Error):
        return False


def _read_columns(path: Path) -> tuple[str, ...]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        return tuple(pq.read_schema(path).names)
    with path.open(encoding="utf-8", newline="") as file:
        if suffix == ".jsonl":
            return tuple(json.loads(next(file, "")))
        separator = _SEPARATORS[suffix]
        return tuple(next(csv.reader(file, delimiter=separator), ()))


class _Row(NamedTuple):
    path: str
    labelled: LabelledImage

    @property
    def record(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "label": self.labelled.label,
            "probability": self.labelled.probability,
            "error": self.labelled.error or None,
            "top": [guess._asdict() for guess in self.labelled.guesses],
        }


Writer: TypeAlias = Callable[[Path, Iterable[_Row]], None]


def _place(image: ImageSource, folder: Path) -> str:
    """Where an image is, as `read_table` finds it from a table in a folder; else its address."""
    if isinstance(image, ImageFile):
        image = image.path
    if not isinstance(image, str | os.PathLike):
        # A picture that is in memory is nowhere.
        return str(getattr(image, "url", ""))[:_LONGEST_ADDRESS]
    path = os.fspath(image)
    if not os.path.isabs(path) and "://" not in path:
        path = os.path.relpath(path, folder)
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _write_separated(file: Path, rows: Iterable[_Row], separator: str) -> None:
    coming = iter(rows)
    # The first image that can be read says how many guesses there are.
    first = []
    for row in coming:
        first.append(row)
        if row.labelled.guesses:
            break
    width = max((len(row.labelled.guesses) for row in first), default=0)
    numbered = [f"{name}_{n + 1}" for n in range(width) for name in ("top", "probability")]
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(
            out, delimiter=separator, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
        )
        writer.writerow([*_COLUMNS, *numbered])
        writer.writerows(_cells(row, width) for row in chain(first, coming))


def _cells(row: _Row, width: int) -> list[str | float]:
    path, labelled = row
    if _FORMULA.match(path):
        path = f".{os.sep}{path}"
    probability = labelled.probability
    rounded = "" if probability is None else round(probability, _DIGITS)
    cells: list[str | float] = [path, labelled.label or "", rounded, labelled.error]
    for guess in labelled.guesses:
        cells += [guess.label, round(guess.probability, _DIGITS)]
    cells += [""] * (len(_COLUMNS) + 2 * width - len(cells))
    return [
        guarded(cell) if number and isinstance(cell, str) else cell
        for number, cell in enumerate(cells)
    ]


def guarded(cell: str) -> str:
    """Put an apostrophe before whatever a spreadsheet would take for a formula in a text."""
    return _FORMULA.sub(r"\1'", cell)


def _write_jsonl(file: Path, rows: Iterable[_Row]) -> None:
    with file.open("w", encoding="utf-8") as out:
        for row in rows:
            out.write(json.dumps(row.record, ensure_ascii=False) + "\n")


def _write_parquet(file: Path, rows: Iterable[_Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.float32()
    guess = pa.struct([("label", text), ("probability", number)])
    types = [text, text, number, text, pa.list_(guess)]
    schema = pa.schema(list(zip((*_COLUMNS, "top"), types, strict=True)))
    with pq.ParquetWriter(file, schema) as writer:
        coming = (row.record for row in rows)
        while some := list(islice(coming, _ROWS_OF_PARQUET)):
            writer.write_table(pa.Table.from_pylist(some, schema))


_COLUMNS = ("path", "label", "probability", "error")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_WRITERS: dict[str, Writer] = {
    **{
        suffix: partial(_write_separated, separator=separator)
        for suffix, separator in _SEPARATORS.items()
    },
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
