import json
import os
from pathlib import Path

import pytest
from PIL import Image

from ipo_dspy.errors import DataError, UnreadableImage
from ipo_dspy.images.readers.table import read_table


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.png", "a.png", "c, d.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    return tmp_path


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_csv_keeps_the_order_of_rows_and_sorts_the_classes(folder: Path) -> None:
    rows = ("path,label", "b.png,tabby_cat", f"{folder / 'a.png'},ant", '"c, d.png",ant')
    data = read_table(write(folder / "t.csv", *rows))
    assert data.classnames == ("ant", "tabby cat")
    assert [(e.image.path.name, e.label) for e in data.examples] == [
        ("b.png", "tabby cat"),
        ("a.png", "ant"),
        ("c, d.png", "ant"),
    ]


def test_all_forms_of_table_say_the_same(folder: Path) -> None:
    rows = [{"file": "a.png", "kind": 7}, {"file": "b.png", "kind": 12}]
    comma = write(folder / "t.csv", "\ufefffile,kind", "a.png,7", "b.png,12")
    tab = write(folder / "t.tsv", "file\tkind", "a.png\t7", "b.png\t12")
    objects = write(folder / "t.jsonl", *map(json.dumps, rows), "")
    names = {"7": "seven", "12": "twelve"}
    for table in (comma, tab, str(objects)):
        data = read_table(table, image="file", label="kind", names=names)
        assert [e.label for e in data.examples] == ["seven", "twelve"]


@pytest.mark.parametrize(
    ("name", "lines", "message"),
    [
        ("t.csv", ["file,label", "a.png,ant"], "header of .* no column 'path'; it has 'file'"),
        ("t.csv", ["a.png,ant", "b.png,bee"], "header of .* no column 'path'; it has 'a.png'"),
        ("t.jsonl", ['{"file": "a.png", "label": "ant"}'], "line 1 of .* no column 'path'"),
        ("t.csv", ["path,label,label", "a.png,ant,1"], "column 'label' twice"),
        ("t.csv", ["path,label", "a,b.png,ant"], "line 2 of .* has 3 fields"),
        ("t.jsonl", ['{"path": "a.png", "label": ["a"]}'], "line 1 of .* expected a text"),
        ("t.csv", ["path,label", "a.png,ant", "b.png,"], "line 3 of .* nothing in .*'label'"),
        ("t.csv", ["path,label", "a.png"], "line 2 of .* nothing in .*'label'"),
        ("t.csv", ["path,label"], "has no rows"),
        ("t.csv", ["path,label", "a.png,ant"], "one class only, 'ant'"),
        ("t.jsonl", ["{"], "line 1 of .* not valid JSON"),
        ("t.jsonl", ["", "[1]"], "line 2 of .* should be a JSON object"),
        ("t.xls", [""], "should end in .csv, .tsv or .jsonl"),
    ],
)
def test_faults_name_their_line(folder: Path, name: str, lines: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(folder / name, *lines))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_separators_and_encodings_are_recognised(
    folder: Path, separator: str, encoding: str, suffix: str
) -> None:
    rows = ["path|label|note", "a.png|Kätzchen|x", "b.png|Esel|crème brûlée"]
    text = "\r\n".join(row.replace("|", separator) for row in rows)
    (folder / f"t.{suffix}").write_bytes(text.encode(encoding))
    data = read_table(folder / f"t.{suffix}")
    assert [e.label for e in data.examples] == ["Kätzchen", "Esel"]


@pytest.mark.parametrize(
    ("label", "encoding"), [("Кошка", "cp1251"), ("猫です", "shift_jis"), ("ネコ", "euc_jp")]
)
def test_an_encoding_that_cannot_be_told_is_named_with_its_line(
    folder: Path, label: str, encoding: str
) -> None:
    text = f"path,label\na.png,ant\nb.png,{label}\n"
    (folder / "t.csv").write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=r"is not UTF-8 \(line 3\); save it as UTF-8"):
        read_table(folder / "t.csv")


def test_tables_of_excel_and_of_windows_are_read(folder: Path) -> None:
    (folder / "below").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "below" / "d.png")
    table = write(folder / "t.csv", "sep=;", "path;label", "a.png;ant", "below\\d.png;bee", ";")
    assert [e.label for e in read_table(table).examples] == ["ant", "bee"]


def test_a_pipe_is_no_table(folder: Path) -> None:
    os.mkfifo(folder / "t.csv")
    with pytest.raises(DataError, match="a pipe or a device"):
        read_table(folder / "t.csv")


def test_missing_table(folder: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read"):
        read_table(folder / "nowhere.csv")


def test_missing_image_is_named_and_left_out_on_request(folder: Path) -> None:
    rows = ("path,label", "a.png,ant", "b.png,bee", "gone.png,bee")
    table = write(folder / "t.csv", *rows)
    with pytest.raises(UnreadableImage, match=r"no image file .*gone\.png"):
        read_table(table)
    assert len(read_table(table, skip_bad_images=True)) == 2
