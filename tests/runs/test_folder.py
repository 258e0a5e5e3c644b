import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ipo_dspy.errors import ArgumentError, JournalError, StorageError
from ipo_dspy.runs.folder import hold, make_room, make_run_folder, write_together, write_whole


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "program.json"
    write_whole(file, lambda path: path.write_text("old"))

    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"program.json.*No space left"):
        write_whole(file, fail)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_whole(tmp_path / "whole", lambda path: path.write_text(""))
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "whole")}
    assert len(modes) == 1


def test_a_folder_in_the_way_is_a_sentence_and_leaves_no_litter(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StorageError, match=r"report\.html"):
        write_whole(tmp_path / "report.html", lambda path: path.write_text("x"))
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_many_may_write_the_same_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "program.json"
    ready = threading.Barrier(8)
    failures: list[StorageError] = []

    def work(text: str) -> None:
        ready.wait()
        try:
            for _ in range(20):
                write_whole(file, lambda path: path.write_text(text * 1000))
        except StorageError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(set(file.read_text())) == 1
    assert list(tmp_path.iterdir()) == [file]


def test_who_holds_a_folder_clears_what_killed_processes_left(tmp_path: Path) -> None:
    (tmp_path / ".part-1234-program.json").write_text("{")
    (tmp_path / "mine.json").write_text("{}")
    with hold(tmp_path):
        assert {file.name for file in tmp_path.iterdir()} == {"mine.json", "journal.lock"}


@pytest.mark.slow
def test_another_process_waits_for_who_holds_the_folder(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ipo_dspy.runs.folder import hold\n"
        "with hold(Path(sys.argv[1]), patience=float(sys.argv[2])): print('held')"
    )

    def start(patience: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, str(tmp_path), patience]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    with hold(tmp_path), hold(tmp_path):
        impatient, patient = start("0"), start("60")
        _, complaint = impatient.communicate(timeout=60)
    assert JournalError.__name__ in complaint
    out, _ = patient.communicate(timeout=60)
    assert out.strip() == "held"


def test_a_run_folder_among_the_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ArgumentError, match="--out"):
        make_run_folder(tmp_path / "photos" / "run", tmp_path / "photos")


def test_a_run_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="--out"):
        make_run_folder(tmp_path / "file" / "run")


def test_making_a_folder_leaves_nothing_in_it(tmp_path: Path) -> None:
    make_run_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_what_belongs_beside_a_file_is_called_after_the_file_itself(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.with_suffix(".bin").write_bytes(b"beside")
        path.write_text(path.with_suffix(".bin").name)

    write_together(tmp_path / "new" / "a.json", write)
    write_together(tmp_path / "new" / "a.json", write)
    assert sorted(file.name for file in (tmp_path / "new").iterdir()) == ["a.bin", "a.json"]
    assert (tmp_path / "new" / "a.json").read_text() == "a.bin"


def test_leaving_without_unwinding_leaves_nothing_unfinished(tmp_path: Path) -> None:
    code = (
        "import os, sys, tempfile; from pathlib import Path\n"
        "from ipo_dspy.runs.folder import give_up_writing, write_together, write_whole\n"
        "tempfile.tempdir = sys.argv[1]\n"
        "def leave(path):\n"
        "    path.write_text('half'); give_up_writing(); os._exit(7)\n"
        "write_together(Path(sys.argv[1], 'a'), lambda path: write_whole(path, leave))"
    )
    assert subprocess.run([sys.executable, "-c", code, tmp_path], check=False).returncode == 7
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["list.csv", "other/../list.csv", "same.csv"])
def test_what_a_command_reads_is_not_replaced(tmp_path: Path, name: str) -> None:
    table = tmp_path / "list.csv"
    table.write_text("path")
    (tmp_path / "other").mkdir()
    (tmp_path / "same.csv").symlink_to(table)
    with pytest.raises(ArgumentError, match="--out"):
        make_room(tmp_path / name, [tmp_path / "gone", table])
    make_room(tmp_path / "new.csv", [table])


def test_a_file_of_another_name_is_not_replaced_by_what_comes_beside(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.with_name("names.txt").write_text("ours")
        path.write_text("main")

    (tmp_path / "names.txt").write_text("theirs")
    with pytest.raises(ArgumentError, match=r"names\.txt"):
        write_together(tmp_path / "a.json", write)
    assert [file.name for file in tmp_path.iterdir()] == ["names.txt"]
    (tmp_path / "names.txt").write_text("ours")
    write_together(tmp_path / "a.json", write)
    assert (tmp_path / "a.json").read_text() == "main"
