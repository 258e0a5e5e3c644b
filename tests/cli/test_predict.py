import csv
from pathlib import Path

import pytest

from ipo_dspy import CLIPClassifier

from .conftest import CLASSES, Run


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    folder = tmp_path / "found"
    folder.mkdir()
    CLIPClassifier(CLASSES, "demo", "a chalk drawing of a <CLASS>").save(folder / "program.json")
    return folder


def rows_of(file: str) -> list[dict[str, str]]:
    with Path(file).open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_folder_is_labelled_by_a_run(run: Run, saved: Path, pictures: Path) -> None:
    outcome = run("predict", pictures, "--program", saved)
    assert outcome.code == 0
    rows = rows_of("labels.csv")
    assert len(rows) == 30
    right = sum(Path(row["path"]).parent.name == row["label"] for row in rows)
    assert right > 20
    assert "30 images" in outcome.out


def test_what_cannot_be_read_is_in_the_table(run: Run, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/bad.png").write_text("none")
    assert run("predict", "photos", "--program", saved / "program.json").code == 0
    [row] = rows_of("labels.csv")
    assert row["path"] == "photos/bad.png"
    assert row["error"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--out", "labels.doc"),
        ("--threshold", "7"),
        ("--top-k", "0"),
        ("--program", "nowhere"),
        ("--clip", "dmeo"),
    ],
)
def test_wrong_options_are_one_sentence(
    run: Run, saved: Path, pictures: Path, wrong: tuple[str, str]
) -> None:
    outcome = run(
        "predict", pictures, *(() if wrong[0] == "--program" else ("--program", saved)), *wrong
    )
    assert outcome.code == 1
    assert wrong[1].split(".")[0] in outcome.err
    assert not Path("labels.csv").exists()


def test_an_encoder_that_a_file_names_is_not_fetched(run: Run, saved: Path, pictures: Path) -> None:
    file = saved / "program.json"
    file.write_text(file.read_text().replace('"demo"', '"hf:nobody/nothing"'))
    outcome = run("predict", pictures, "--program", saved)
    assert outcome.code == 1
    assert "--clip" in outcome.err


def test_the_folder_of_the_table_is_made(run: Run, saved: Path, pictures: Path) -> None:
    assert run("predict", pictures / "cup", "--program", saved, "--out", "a/b/l.jsonl").code == 0
    assert Path("a/b/l.jsonl").is_file()
