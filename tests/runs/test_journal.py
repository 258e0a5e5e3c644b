import os
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipo_dspy.errors import JournalError
from ipo_dspy.runs.journal import (
    FORMAT,
    Journal,
    NoJournal,
    check_journal,
    read_journal,
    records,
)

HEADER = {"seed": 1, "prompt_model": "a/b"}
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
events = st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=5)


def written(folder: Path, *made: dict[str, Any]) -> Path:
    with Journal(folder, HEADER) as journal:
        for event in made:
            journal.append(event)
    return journal.path


def read(folder: Path) -> list[dict[str, Any]]:
    with Journal(folder, HEADER) as journal:
        return journal.events


@pytest.mark.slow
@given(made=events)
@settings(max_examples=30)
def test_any_events_are_read_as_they_were_written(
    made: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    written(folder, *made)
    assert read(folder) == orjson.loads(orjson.dumps(made))


@pytest.mark.slow
def test_a_line_cut_at_any_byte_is_dropped_and_the_journal_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path, {"reply": "ä\u2028"}, {"trial": {"text": "été"}})
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for kept in range(len(whole) - last, len(whole)):
        path.write_bytes(whole[:kept])
        with Journal(tmp_path, HEADER) as journal:
            assert journal.events == [{"reply": "ä\u2028"}]
            journal.append({"trial": {"text": "été"}})
        assert path.read_bytes() == whole


@pytest.mark.slow
def test_a_journal_cut_within_its_first_line_begins_anew(tmp_path: Path) -> None:
    path = written(tmp_path)
    header = path.read_bytes()
    for kept in range(len(header)):
        path.write_bytes(header[:kept])
        assert read(tmp_path) == []
        assert path.read_bytes() == header


def test_the_journal_of_another_run_is_refused_with_its_differences_and_left_alone(
    tmp_path: Path,
) -> None:
    def differences(found: Mapping[str, Any]) -> list[str]:
        return [f"another seed than {found['seed']}"]

    before = written(tmp_path, {"a": 1}).read_bytes()
    with pytest.raises(JournalError) as caught:
        Journal(tmp_path, {**HEADER, "seed": 2}, differences)
    for fact in ("another seed than 1", "--out", "run_dir="):
        assert fact in str(caught.value)
    assert (tmp_path / "journal.jsonl").read_bytes() == before
    assert read(tmp_path) == [{"a": 1}]


@pytest.mark.parametrize("written_format", [FORMAT + 1, None, "2"])
def test_the_journal_of_a_later_version_is_refused(tmp_path: Path, written_format: object) -> None:
    header = {"format": written_format, "version": "9.9"}
    (tmp_path / "journal.jsonl").write_bytes(orjson.dumps(header) + b"\n")
    with pytest.raises(JournalError, match=r"9\.9"):
        Journal(tmp_path, HEADER)


@pytest.mark.parametrize(
    "damage", [b"{]", b"3", b"", b"\xff\xfe", b'{"b":3}', b'{"b":2,"crc32":"0"}']
)
def test_a_damaged_event_costs_itself_alone_and_is_named(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, {"a": 1}, {"b": 2}, {"c": 3})
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], damage, lines[3], b""]))
    assert read(tmp_path) == [{"a": 1}, {"c": 3}]
    [warning] = caplog.messages
    assert "journal.jsonl" in warning
    assert "line 3" in warning


def test_a_first_line_whose_checksum_lost_its_name_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, {"a": 1})
    path.write_bytes(path.read_bytes().replace(b"crc32", b"brc32", 1))
    with pytest.raises(JournalError, match="line 1"):
        Journal(tmp_path, HEADER)


@pytest.mark.slow
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_no_flipped_bit_goes_unnoticed(
    place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    made = [{"trial": {"text": "a <CLASS>", "loss": 1.25}}, {"reply": {"text": "b"}}, {"c": [1]}]
    path = written(folder, *made)
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    if place % len(content) <= content.index(b"\n"):
        with pytest.raises(JournalError):
            read(folder)
    else:
        found = read(folder)
        assert all(event in made for event in found)
        assert len(found) >= len(made) - 2


def test_a_damaged_first_line_is_refused_and_named(tmp_path: Path) -> None:
    path = written(tmp_path, {"a": 1})
    path.write_bytes(path.read_bytes().replace(b"a/b", b"a/c"))
    with pytest.raises(JournalError, match="line 1"):
        Journal(tmp_path, HEADER)


def test_a_second_search_of_the_same_process_is_refused_and_frees_nothing(tmp_path: Path) -> None:
    with Journal(tmp_path, HEADER) as journal:
        with pytest.raises(JournalError, match="Another search"):
            Journal(tmp_path, HEADER)
        journal.append({"a": 1})
    assert read(tmp_path) == [{"a": 1}]


@pytest.mark.slow
def test_a_second_process_is_refused_while_the_first_one_works(tmp_path: Path) -> None:
    other = (
        "import sys; from pathlib import Path; from ipo_dspy.errors import JournalError\n"
        "from ipo_dspy.runs.journal import Journal\n"
        "try: Journal(Path(sys.argv[1]), {'seed': 1, 'prompt_model': 'a/b'})\n"
        "except JournalError as error: print(error)\n"
        "else: print('opened')"
    )
    command = [sys.executable, "-c", other, str(tmp_path)]
    with Journal(tmp_path, HEADER):
        refused = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    opened = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert refused.startswith("Another process is working in")
    assert opened == "opened\n"


def test_a_full_disk_is_reported_and_keeps_what_was_written(tmp_path: Path) -> None:
    written(tmp_path, {"a": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path, HEADER) as journal:
        room = journal.path.stat().st_size + 40
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
        try:
            with pytest.raises(JournalError, match="make room and repeat the command"):
                journal.append({"b": "x" * 100})
            journal.append({"c": 3})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        journal.append({"d": 4})
    assert read(tmp_path) == [{"a": 1}, {"c": 3}, {"d": 4}]


def test_an_event_that_did_not_reach_the_disk_does_not_spoil_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError("input/output error")

    with Journal(tmp_path, HEADER) as journal:
        with monkeypatch.context() as broken:
            broken.setattr("os.fsync", fail)
            with pytest.raises(JournalError, match="input/output"):
                journal.append({"long": "x" * 100})
        journal.append({"a": 1})
    assert read(tmp_path) == [{"a": 1}]


def test_a_run_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be used"):
        Journal(tmp_path / "file" / "run", HEADER)


def test_a_journal_that_cannot_be_read_is_reported_and_frees_the_folder(tmp_path: Path) -> None:
    (tmp_path / "journal.jsonl").mkdir()
    with pytest.raises(JournalError, match="cannot be read"):
        Journal(tmp_path, HEADER)
    (tmp_path / "journal.jsonl").rmdir()
    assert read(tmp_path) == []


def test_every_event_is_on_disk_when_append_returns(tmp_path: Path) -> None:
    with Journal(tmp_path, HEADER) as journal:
        for number in range(3):
            journal.append({"number": number})
            last = orjson.loads(journal.path.read_bytes().splitlines()[-1])
            assert last["number"] == number


def test_without_a_run_folder_nothing_is_kept() -> None:
    with NoJournal() as journal:
        journal.append({"a": 1})
    assert journal.events == []


def test_records_of_one_kind_are_picked_in_order() -> None:
    assert records([{"a": {"n": 1}}, {"b": {"n": 2}}, {"a": {"n": 3}}], "a") == [{"n": 1}, {"n": 3}]


def test_a_pipe_in_the_place_of_a_journal_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "journal.jsonl")
    for read in (read_journal, check_journal, lambda folder: Journal(folder, {})):
        with pytest.raises(JournalError, match="a pipe or a device"):
            read(tmp_path)
