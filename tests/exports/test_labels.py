import csv
import json
import os
import sys
from pathlib import Path

import pytest

from ipo_dspy import ArgumentError, StorageError, read_table, write_labels
from ipo_dspy.demo.world import draw
from ipo_dspy.exports.labels import is_labels_file
from ipo_dspy.programs.labelling import Guess, LabelledImage

TWO = (Guess("cat", 0.75), Guess("dog", 0.25))


def of(path: object, *, threshold: float = 0.0, error: str = "") -> LabelledImage:
    return LabelledImage(str(path), () if error else TWO, threshold, error)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_csv_has_a_row_for_each_image(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    some = [of("gone.png", error="gone"), of("a.png"), of("b.png", threshold=0.9)]
    counts = write_labels(some, file)
    gone, certain, unsure = rows_of(file)
    assert certain["label"] == certain["top_1"] == "cat"
    assert float(certain["probability"]) == float(certain["probability_1"]) == 0.75
    assert (certain["top_2"], certain["probability_2"]) == ("dog", "0.25")
    assert (unsure["label"], unsure["top_1"]) == ("", "cat")
    assert (gone["error"], gone["label"], gone["top_1"]) == ("gone", "", "")
    assert (counts.labelled, counts.below, counts.unreadable) == (1, 1, 1)
    assert counts.per_class == {"cat": 1}


def test_nothing_in_csv_begins_as_a_formula_does(tmp_path: Path, monkeypatch: object) -> None:
    file = tmp_path / "labels.csv"
    names = ["=1+1.png", "-x.png", "+x.png", "@x.png", "\tx.png", "\uff1dx.png", "\uff20x.png"]
    evil = LabelledImage("x.png", (Guess("=HYPERLINK()", 1.0),))
    write_labels([*(of(tmp_path / name) for name in names), evil], file)
    write_labels([*(of(os.path.relpath(tmp_path / name)) for name in names), evil], file)
    rows = rows_of(file)
    assert [os.path.normpath(row["path"]) for row in rows[: len(names)]] == names
    for row in rows:
        assert not any(
            value.startswith(tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")) for value in row.values()
        )


def test_semicolons_and_quotes_in_names_stay_in_their_cell(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    names = ["a;=1+1.png", 'b";=1+1;".png', "c,d.png"]
    write_labels(
        [LabelledImage(tmp_path / name, (Guess("x;=2\n=3", 1.0),)) for name in names], file
    )
    assert [row["path"] for row in rows_of(file)] == [str(tmp_path / name) for name in names]
    with file.open(encoding="utf-8", newline="") as opened:
        # As a spreadsheet splits it that takes semicolons for the ends of cells.
        for cells in csv.reader(opened, delimiter=";"):
            assert not any(cell.startswith("=") for cell in cells)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_own_tables_are_known_by_their_columns(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow.parquet", reason="install ipo-dspy[parquet]")
    file = tmp_path / f"labels.{ending}"
    write_labels([of("a.png")], file)
    assert is_labels_file(file)
    for other in ("path,label\na.png,cat\n", "", "7\n", "{}\n", "\x00\udcff"):
        file.write_text(other, "utf-8", errors="surrogateescape")
        assert not is_labels_file(file)


def test_parquet_without_its_library_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ArgumentError, match=r"ipo-dspy\[parquet\]"):
        write_labels([], tmp_path / "labels.parquet")


def test_a_table_in_another_folder_is_read_again_with_its_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(2):
        draw("cat", "chalk", seed=number).save(tmp_path / f"photos/{number}.png")
    file = tmp_path / "out" / "labels.csv"
    file.parent.mkdir()
    relative = [os.path.relpath(tmp_path / f"photos/{number}.png") for number in range(2)]
    cat, dog = (
        LabelledImage(path, (Guess(label, 1.0),))
        for path, label in zip(relative, ("cat", "dog"), strict=True)
    )
    write_labels([cat, dog], file)
    images = read_table(file)
    assert [example.label for example in images.examples] == ["cat", "dog"]
    assert images.examples[0].image.path.resolve() == (tmp_path / "photos/0.png").resolve()


def test_json_lines_hold_any_file_name(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    write_labels(
        [of(tmp_path / "ü.png"), of(os.fsdecode(b"/a/\xff.png")), of("x", error="e")], file
    )
    umlaut, bytes_, gone = (json.loads(line) for line in file.read_text("utf-8").splitlines())
    assert umlaut["path"] == str(tmp_path / "ü.png")
    assert bytes_["path"] == "/a/\\xff.png"
    assert umlaut["top"] == [
        {"label": "cat", "probability": 0.75},
        {"label": "dog", "probability": 0.25},
    ]
    assert gone["label"] is None


def test_parquet_has_the_same_content(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="install ipo-dspy[parquet]")
    file = tmp_path / "labels.parquet"
    write_labels([of("/a.png"), of("/b.png", error="broken")], file)
    good, bad = parquet.read_table(file).to_pylist()
    assert good["label"] == "cat"
    assert good["top"][1] == {"label": "dog", "probability": 0.25}
    assert bad == {
        "path": "/b.png",
        "label": None,
        "probability": None,
        "error": "broken",
        "top": [],
    }


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"\.csv"):
        write_labels([], tmp_path / "labels.xlsx")


def test_what_was_there_stays_where_labelling_fails(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("precious")

    def broken() -> object:
        yield of("a.png")
        raise StorageError("no")

    with pytest.raises(StorageError):
        write_labels(broken(), file)  # type: ignore[arg-type]
    assert file.read_text() == "precious"
