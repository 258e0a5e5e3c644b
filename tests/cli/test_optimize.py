import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ipo_dspy import CLIPClassifier, read_folder

pytestmark = pytest.mark.slow

Run = Callable[..., Any]
QUICK = ("--steps", 2, "--prompts-per-step", 3)


def journal(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_a_folder_and_one_command_give_a_program_and_a_report(run: Run, pictures: Path) -> None:
    outcome = run("optimize", pictures, *QUICK, "--out", "run")

    assert outcome.code == 0
    program = CLIPClassifier.from_file("run/program.json")
    assert program.template.text in outcome.out
    assert program.classnames == read_folder(pictures).classnames
    assert program.template.text.replace("<", "&lt;").replace(">", "&gt;") in (
        Path("run/report.html").read_text()
    )


def test_own_images_are_spoken_of_as_held_out_and_not_as_base_and_novel(
    run: Run, pictures: Path
) -> None:
    outcome = run("optimize", pictures, *QUICK)

    assert "held-out images" in outcome.out
    assert "novel" not in outcome.out + outcome.err


def test_novel_searches_on_the_first_half_and_tests_on_both(run: Run, pictures: Path) -> None:
    outcome = run("optimize", pictures, *QUICK, "--novel", "--out", "run")

    assert CLIPClassifier.from_file("run/program.json").classnames == ("apple", "boat", "cup")
    assert {"base", "novel", "H"} <= set(outcome.out.split())


def test_the_lines_on_how_to_use_the_program_run_as_printed(run: Run, pictures: Path) -> None:
    outcome = run("optimize", pictures, *QUICK, "--out", "a run")

    lines = outcome.out.split("In Python:\n")[1].strip().splitlines()[:3]
    printed = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in lines)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.strip() in {"apple", "boat", "cup", "fish", "house", "key"}


def test_the_same_command_again_shows_the_same_result_without_a_new_call(
    run: Run, pictures: Path
) -> None:
    first = run("optimize", pictures, *QUICK)
    [folder] = Path("runs").iterdir()
    before = journal(folder)
    again = run("optimize", pictures, *QUICK)

    assert again.out == first.out
    assert journal(folder) == before


def test_more_steps_go_on_from_the_steps_made(run: Run, pictures: Path) -> None:
    run("optimize", pictures, "--steps", 1, "--prompts-per-step", 2, "--out", "run")
    before = journal(Path("run"))
    run("optimize", pictures, "--steps", 3, "--prompts-per-step", 2, "--out", "run")

    after = journal(Path("run"))
    assert after[: len(before)] == before
    assert max(event["reply"]["step"] for event in after if "reply" in event) == 3


def test_the_search_sees_no_held_out_image(run: Run, pictures: Path) -> None:
    outcome = run("optimize", pictures, *QUICK, "--hold-out", 0.4, "--out", "run")

    trial = next(event["trial"] for event in journal(Path("run")) if "trial" in event)
    held_out = 6 * 2
    assert trial["score"]["n"] == 6 * 5 - held_out
    assert f"{held_out} images" in outcome.out


def test_a_class_with_one_image_is_named_as_having_none_held_out(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    own = copy_of(pictures, tmp_path)
    for extra in sorted((own / "cup").iterdir())[1:]:
        extra.unlink()

    outcome = run("optimize", own, *QUICK)

    assert outcome.code == 0
    assert "cup has one image only" in outcome.err


def test_with_one_image_a_class_the_figures_are_said_to_be_those_of_the_search(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    own = copy_of(pictures, tmp_path)
    for folder in own.iterdir():
        for extra in sorted(folder.iterdir())[1:]:
            extra.unlink()

    outcome = run("optimize", own, *QUICK)

    assert "on the images of the search itself" in outcome.out
    assert "unseen" not in outcome.out


def test_a_table_of_paths_and_labels_will_do(run: Run, pictures: Path, tmp_path: Path) -> None:
    files = sorted(pictures.glob("*/*.png"))
    rows = "".join(f"{file},{file.parent.name}\n" for file in files)
    (tmp_path / "list.csv").write_text(f"path,label\n{rows}")

    assert run("optimize", "list.csv", *QUICK).code == 0
    assert Path("runs/list-seed0/program.json").exists()


def test_class_names_come_from_a_file(run: Run, pictures: Path, tmp_path: Path) -> None:
    called = {folder.name: folder.name for folder in pictures.iterdir()} | {"key": "old door key"}
    lines = [f"{folder} {name}" for folder, name in called.items()]
    (tmp_path / "names.txt").write_text("\n".join(lines))
    run("optimize", pictures, *QUICK, "--class-names", "names.txt", "--out", "run")

    assert "old door key" in CLIPClassifier.from_file("run/program.json").classnames


def test_awkward_class_names_and_pictures_are_fine(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    modes = {"{a} %s": "P", "<CLASS>": "CMYK", "under_score": "LA", "größe 苹果": "I;16"}
    for number, (name, mode) in enumerate(modes.items()):
        source = sorted(pictures.iterdir())[number]
        (own / name).mkdir(parents=True)
        for file in source.iterdir():
            image = Image.open(file).convert("L" if mode == "I;16" else mode)
            image.convert(mode).save(own / name / f"{file.stem}.tif")
    outcome = run("optimize", own, *QUICK, "--out", "run")

    assert outcome.code == 0, outcome.err
    assert set(CLIPClassifier.from_file("run/program.json").classnames) == {
        "{a} %s",
        "<CLASS>",
        "under score",
        "größe 苹果",
    }


def test_descriptions_come_from_a_file(run: Run, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text("a vermilion doodle\n" * 24)
    run("optimize", pictures, *QUICK, "--image-model", "file:texts.txt", "--out", "run")

    [text] = {e["description"]["text"] for e in journal(Path("run")) if "description" in e}
    assert text == "a vermilion doodle"


def test_bounds_end_the_search(run: Run, pictures: Path) -> None:
    outcome = run("optimize", pictures, "--steps", 9, "--prompts-per-step", 2, "--max-calls", 4)

    assert "4 calls of the prompt model" in outcome.out
    assert "Ended by the bound on calls" in outcome.out


def test_other_shots_of_the_demo_are_another_run(run: Run) -> None:
    quick = ("--steps", 1, "--prompts-per-step", 2)
    assert run("optimize", *quick).code == 0
    assert run("optimize", *quick, "--shots", 2).code == 0
    assert len(list(Path("runs").glob("demo-shots2-seed0/pictures/*/train/*/*.png"))) == 48
    refused = run("optimize", *quick, "--shots", 2, "--out", "runs/demo-seed0")
    assert refused.code == 1
    assert "training images" in refused.err


def test_fewer_calls_than_a_step_has_are_made_all_the_same(run: Run, pictures: Path) -> None:
    outcome = run("optimize", pictures, "--steps", 2, "--max-calls", 3)
    assert outcome.code == 0
    assert "3 calls of the prompt model" in outcome.out


def test_unknown_cost_is_not_zero_and_own_models_cost_nothing(run: Run, pictures: Path) -> None:
    outcome = run("optimize", pictures, *QUICK)

    assert "cost: none, the model runs on this machine" in " ".join(outcome.out.split())


def test_without_a_folder_the_demo_says_what_it_is(run: Run) -> None:
    outcome = run("optimize", "--steps", 1, "--prompts-per-step", 2)

    assert outcome.code == 0, outcome.err
    assert "no language model" in outcome.err
    assert "chalk drawings" in outcome.err
    folder = Path("runs/demo-seed0")
    assert len(list(folder.glob("pictures/seed0-shots1/train/*/*.png"))) == 24
    assert len(list(folder.glob("pictures/seed0-shots1/test/*"))) == 48
    assert {"base", "novel", "H"} <= set(outcome.out.split())


def copy_of(pictures: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pictures, tmp_path / "own"))


def test_texts_for_each_class_come_beside_the_found_prompt(run: Run, pictures: Path) -> None:
    options = ("--novel", "--out", "run", "--class-texts", 2)
    planned = run("plan", pictures, *QUICK, *options[:1], *options[3:])
    outcome = run("optimize", pictures, *QUICK, *options)
    again = run("optimize", pictures, *QUICK, *options)

    program = CLIPClassifier.from_file("run/class_texts.json")
    assert set(program.classnames) == {"apple", "boat", "cup"}
    assert set(program.class_texts) == {"apple", "boat", "cup", "fish", "house", "key"}
    assert all(len(texts) == 2 for texts in program.class_texts.values())
    assert CLIPClassifier.from_file("run/program.json").class_texts == {}
    assert "6 calls for texts" in planned.out
    assert "12 calls of the prompt model" in outcome.out
    assert "with texts for each class" in " ".join(outcome.out.split())
    assert program.class_texts["cup"][0] in Path("run/report.html").read_text()
    assert again.out == outcome.out


def test_texts_are_added_to_a_run_that_was_made_without(run: Run, pictures: Path) -> None:
    run("optimize", pictures, *QUICK)
    outcome = run("optimize", pictures, *QUICK, "--class-texts", 2)

    [folder] = Path("runs").iterdir()
    assert (folder / "class_texts.json").exists()
    assert "12 calls of the prompt model" in outcome.out
