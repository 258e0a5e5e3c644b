from dataclasses import replace
from pathlib import Path

import pytest

from ipo_dspy.cli.run_folder import default_run_folder
from ipo_dspy.terminal.options import EncoderOptions, ProposingOptions, RunOptions, SamplingOptions


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
