from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ipo_dspy.cli.run_folder import default_run_folder, work_of
from ipo_dspy.runs.folder import make_run_folder, mark_folder
from ipo_dspy.terminal.options import (
    BoundOptions,
    DescribingOptions,
    EncoderOptions,
    ProposingOptions,
    RunOptions,
    SamplingOptions,
    SearchOptions,
)


@pytest.mark.parametrize(
    ("source", "changes", "name"),
    [
        (None, {}, "demo-seed0"),
        (Path("some/My photos/"), {}, "My-photos-seed0"),
        (Path("pets.v2"), {}, "pets.v2-seed0"),
        (Path("list.csv"), {"sampling": SamplingOptions(seed=4)}, "list-seed4"),
        (
            Path("pets"),
            {
                "encoder": EncoderOptions(clip="open_clip:ViT-B-16-quickgelu/openai"),
                "proposing": ProposingOptions(prompt_model="openai/gpt-4o-mini"),
            },
            "pets-open_clip-ViT-B-16-quickgelu-openai-openai-gpt-4o-mini-seed0",
        ),
    ],
)
def test_another_model_or_seed_has_another_folder(
    source: Path | None, changes: dict[str, object], name: str
) -> None:
    run = replace(RunOptions(), **changes)  # type: ignore[arg-type]
    assert default_run_folder(source, run) == Path("runs", name)


def test_the_folder_of_a_path_with_dots_is_named_after_where_it_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pets").mkdir()
    monkeypatch.chdir(tmp_path / "pets")
    assert default_run_folder(Path("."), RunOptions()) == Path("runs", "pets-seed0")


# Folders of other work


def pictures(folder: Path) -> Path:
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.png").write_bytes(b"picture")
    return folder


def taken(source: Path | None, run: RunOptions = RunOptions()) -> Path:  # noqa: B008 - frozen
    """Begin a run in the default folder, as the command does."""
    folder = default_run_folder(source, run)
    make_run_folder(folder)
    mark_folder(folder, work_of(source, run))
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_same_command_has_the_same_folder_however_long_it_goes_on(here: Path) -> None:
    source = pictures(here / "pets")
    first = taken(source)
    longer = RunOptions(search=SearchOptions(steps=99), bounds=BoundOptions(max_calls=3))
    assert taken(source) == taken(source, longer) == taken(Path("pets")) == first


def test_one_folder_name_under_two_parents_has_two_run_folders(here: Path) -> None:
    one, other = pictures(here / "a" / "pets"), pictures(here / "b" / "pets")
    assert taken(one) != taken(other)
    assert taken(one) == Path("runs", "pets-seed0")


def test_one_photo_more_has_another_folder_until_it_is_gone(here: Path) -> None:
    source = pictures(here / "pets")
    first = taken(source)
    more = source / "cat" / "2.png"
    more.write_bytes(b"picture")
    assert taken(source) != first
    more.unlink()
    assert taken(source) == first


def test_a_table_with_one_row_more_has_another_folder(here: Path) -> None:
    table = here / "list.csv"
    table.write_text("path,label\na.png,cat\n")
    first = taken(table)
    table.write_text("path,label\na.png,cat\nb.png,dog\n")
    assert taken(table) != first


@pytest.mark.parametrize(
    "changed",
    [
        {"search": SearchOptions(initial="a sketch of a <CLASS>.")},
        {"search": SearchOptions(prompts_per_step=3)},
        {"sampling": SamplingOptions(hold_out=0.5)},
        {"encoder": EncoderOptions(precision="bfloat16")},
        {"describing": DescribingOptions(api_base="http://host/v1")},
    ],
    ids=str,
)
def test_another_option_has_another_folder(here: Path, changed: dict[str, object]) -> None:
    first = taken(None)
    other = taken(None, RunOptions(**changed))  # type: ignore[arg-type]
    assert first != other
    assert taken(None) == first


def test_who_embeds_makes_no_other_folder(here: Path) -> None:
    ray = EncoderOptions(backend="ray", address="10.0.0.1:6379")
    assert taken(None, RunOptions(encoder=ray)) == taken(None)


def test_the_key_in_an_address_makes_no_other_folder(here: Path) -> None:
    def at(address: str) -> Path:
        return taken(None, RunOptions(describing=DescribingOptions(api_base=address)))

    assert at("http://me:one@host/v1") == at("http://me:two@host/v1") != at("http://host/v2")


def test_a_folder_that_does_not_say_whose_it_is_is_given_to_whoever_asks(here: Path) -> None:
    make_run_folder(Path("runs", "demo-seed0"))
    assert default_run_folder(None, RunOptions()) == Path("runs", "demo-seed0")


def test_a_link_that_leads_back_does_no_harm(here: Path) -> None:
    source = pictures(here / "pets")
    (source / "cat" / "back").symlink_to(source)
    assert taken(source) == taken(source)


@pytest.mark.parametrize("wrong", [("--clip", "no such"), ("--shots", "0"), ("--device", "cuda:9")])
def test_a_command_that_cannot_begin_leaves_no_folder(
    run: Callable[..., Any], pictures: Path, tmp_path: Path, wrong: tuple[str, str]
) -> None:
    out = tmp_path / "mine"
    assert run("optimize", pictures, "--out", out, *wrong).code == 1
    assert not out.exists()
    out.mkdir()
    (out / "notes.txt").touch()
    assert run("optimize", pictures, "--out", out, *wrong).code == 1
    assert (out / "notes.txt").exists()
