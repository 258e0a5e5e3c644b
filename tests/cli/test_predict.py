import csv
import os
import signal
import subprocess
import sys
import time
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


@pytest.mark.parametrize("own", ["list.csv", "labels.csv"])
def test_a_persons_own_table_is_not_replaced(
    run: Run, saved: Path, pictures: Path, own: str
) -> None:
    table = f"path,label\n{pictures / 'cup/000.png'},mine\n"
    Path(own).write_text(table)
    for images in (own, pictures):
        outcome = run("predict", images, "--program", saved, "--out", own)
        assert outcome.code == 1
        assert own in outcome.err
    assert Path(own).read_text() == table


def test_a_table_of_labels_may_be_made_anew_but_not_from_itself(
    run: Run, saved: Path, pictures: Path
) -> None:
    for _ in range(2):
        assert run("predict", pictures / "cup", "--program", saved).code == 0
    before = Path("labels.csv").read_bytes()
    assert run("predict", "labels.csv", "--program", saved).code == 1
    assert Path("labels.csv").read_bytes() == before


@pytest.mark.slow
def test_ctrl_c_leaves_nothing_behind(saved: Path, pictures: Path, tmp_path: Path) -> None:
    photos, folder = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(3000):
        os.link(pictures / "cup/000.png", photos / f"{number}.png")
    code = (
        "from ipo_dspy.programs import labelling; labelling.IMAGES_AT_ONCE = 1\n"
        "from ipo_dspy.cli import main; main()"
    )
    options = ["--program", saved, "--out", folder / "labels.csv"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "predict", photos, *options],
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 60
    while not any(folder.glob(".part-*labels.csv")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert list(folder.iterdir()) == []
