"""Labels of images as a table: CSV, JSON lines or Parquet, for spreadsheets and for programs."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ipo_dspy.errors import ArgumentError
from ipo_dspy.images.image import ImageFile, ImageSource
from ipo_dspy.programs.labelling import LabelledImage
from ipo_dspy.runs.folder import write_whole

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula."""
_ROWS_OF_PARQUET = 10_000
_LONGEST_ADDRESS = 200


@dataclass(frozen=True)
class LabelCounts:
    """How many images were labelled, fell below the threshold, and could not be read."""

    labelled: int
    below: int
    unreadable: int
    per_class: Counter[str]


def write_labels(labels: Iterable[LabelledImage], path: str | Path) -> LabelCounts:
    """Write labels as they come; the file is there when all are, and replaces what was there.

    Columns are `path`, `label` (empty below the threshold), `probability` of the best guess,
    `error` of images that cannot be read, and all guesses: in CSV as `top_1`, `probability_1` and
    so on, else as one column `top` of labels and probabilities. Relative paths start at the file's
    folder, so that `read_table` reads it again. In CSV nothing begins as a formula does: such a
    path gets `./` in front, and any other text an apostrophe. Names of files that are no UTF-8
    are written with escapes such as `\\xff`.

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


def _write_csv(file: Path, rows: Iterable[_Row]) -> None:
    _write_separated(file, rows, ",")


def _write_tsv(file: Path, rows: Iterable[_Row]) -> None:
    _write_separated(file, rows, "\t")


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
        writer = csv.writer(out, delimiter=separator, lineterminator="\n")
        writer.writerow([*_COLUMNS, *numbered])
        writer.writerows(_cells(row, width) for row in chain(first, coming))


def _cells(row: _Row, width: int) -> list[str]:
    path, labelled = row
    if path.startswith(_FORMULA):
        path = f".{os.sep}{path}"
    probability = labelled.probability
    texts = [path, labelled.label or "", _number(probability), labelled.error]
    for guess in labelled.guesses:
        texts += [guess.label, _number(guess.probability)]
    texts += [""] * (len(_COLUMNS) + 2 * width - len(texts))
    return [f"'{text}" if text.startswith(_FORMULA) else text for text in texts]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6f}"


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
_WRITERS: dict[str, Writer] = {
    ".csv": _write_csv,
    ".tsv": _write_tsv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
