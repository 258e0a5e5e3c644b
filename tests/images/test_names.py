from pathlib import Path

import pytest

from ipo_dspy.errors import ArgumentError, DataError
from ipo_dspy.images.names import (
    TwinName,
    checked_classnames,
    display_names,
    read_classnames,
    saved_classnames,
)


def test_classes_keep_their_order_and_read_underscores_as_blanks() -> None:
    assert list(display_names(["tabby_cat", "ant"]).items()) == [
        ("tabby_cat", "tabby cat"),
        ("ant", "ant"),
    ]


def test_given_text_is_carried_as_it_is() -> None:
    assert display_names(["a", "b"], {"a": "snake_case {x}"})["a"] == "snake_case {x}"


def test_names_of_other_classes_are_refused() -> None:
    with pytest.raises(DataError, match=r"'n01' and others.*'ant', 'bee' \.\.\.; none of them"):
        display_names(["ant", "bee"], {"n01": "tench"})


def test_repeated_classes_are_refused() -> None:
    with pytest.raises(DataError, match="'crane' and 'crane' both read 'crane'"):
        display_names(["crane", "dove", "crane"])


def test_composed_and_decomposed_accents_read_alike() -> None:
    with pytest.raises(DataError, match="both read"):
        display_names(["caf\u00e9", "cafe\u0301"])


def test_no_classes_at_all() -> None:
    with pytest.raises(DataError, match="no labelled images"):
        display_names([])


def test_classnames_file_with_tabs_allows_blanks_in_folder_names(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("big cat\ta lion\n")
    assert read_classnames(tmp_path / "names.txt") == {"big cat": "a lion"}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("n.txt", "n01 tench\nn02\n", r"line 2 of .*n\.txt needs a class and its name"),
        ("n.txt", "n01 tench\nn01 shark\n", r"line 2 of .*'n01' once more"),
        ("n.txt", "\n", "names no classes"),
        ("n.json", "{}", "names no classes"),
        ("n.json", '{"a": "b", "a": "c"}', "'a' twice"),
        ("n.json", "{", "not valid JSON"),
        ("n.json", "[1]", "one JSON object"),
        ("n.txt", None, "cannot be read"),
    ],
)
def test_classnames_file_of_another_form_is_refused(
    tmp_path: Path, file: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=message):
        read_classnames(tmp_path / file)


@pytest.mark.parametrize(
    "names",
    [
        ["Cat", "cat"],
        ["cat ", "cat"],
        ["a_b", "a b"],
        ["caf\u00e9", "cafe\u0301"],
        ["salt &amp; pepper", "salt & pepper"],
        ["cat_", "cat"],
    ],
)
def test_names_that_clip_reads_alike_are_refused(names: list[str]) -> None:
    with pytest.raises(ArgumentError, match="read alike"):
        checked_classnames(names)


@pytest.mark.parametrize("names", ["cat", {"a", "b"}, {"a": "b"}, [0, 1], ["a", ""], [], [None]])
def test_what_is_no_list_of_names_is_refused(names: object) -> None:
    with pytest.raises(ArgumentError):
        checked_classnames(names)  # type: ignore[arg-type]


def test_a_twin_of_a_published_list_stays_a_class_of_its_own() -> None:
    names = ("crane", TwinName("crane_"), "bee")
    assert checked_classnames(names) == names


def test_names_of_a_saved_program_stay_as_they_were() -> None:
    assert saved_classnames(["Cat", "cat", "a_b", "a b"]) == ("Cat", "cat", "a_b", "a b")
    for wrong in (["cat", "cat"], "cat", [1], None):
        with pytest.raises(ArgumentError):
            saved_classnames(wrong)


@pytest.mark.parametrize(
    "name", ["cat\u200b", "cat\u202e", "\x1b[31mcat", "c\u00adat", "\u2066cat"]
)
def test_a_name_with_a_hidden_character_is_refused_by_the_name_of_that(name: str) -> None:
    with pytest.raises(ArgumentError, match=r"number 1.*U\+[0-9A-F]{4} [A-Z-]+"):
        checked_classnames(["dog", name])
    with pytest.raises(DataError, match=r"U\+[0-9A-F]{4} [A-Z-]+.*--class-names"):
        display_names(["dog", name])
    with pytest.raises(DataError, match=r"U\+[0-9A-F]{4}"):
        display_names(["dog", "cat"], {"cat": name})


@pytest.mark.parametrize("name", ["می\u200cخواهم", "\N{MAN}\u200d\N{PERSONAL COMPUTER}", "ക്\u200d"])
def test_what_joins_letters_of_other_scripts_is_not_hidden(name: str) -> None:
    assert checked_classnames(["dog", name])[1] == name


def test_a_name_longer_than_any_encoder_reads_is_refused_without_showing_it_all() -> None:
    with pytest.raises(ArgumentError) as caught:
        checked_classnames(["cat", "x" * 10**6])
    assert len(str(caught.value)) < 300
