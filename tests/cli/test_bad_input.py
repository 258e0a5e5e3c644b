import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ipo_dspy import CLIPClassifier

Run = Callable[..., Any]
QUICK = ("--steps", 1, "--prompts-per-step", 2)


@pytest.fixture
def own(pictures: Path, tmp_path: Path) -> Path:
    """A copy of the pictures that a test may spoil."""
    return Path(shutil.copytree(pictures, tmp_path / "own"))


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """Run a command that must fail with one sentence; give the sentence."""

    def command(*arguments: object) -> str:
        outcome = run(*arguments)
        assert outcome.code == 1
        assert "Traceback" not in outcome.err
        [sentence] = [line for line in outcome.err.splitlines() if line.startswith("ipo-dspy: ")]
        assert outcome.err.endswith(f"{sentence}\n")
        return str(sentence)

    return command


def test_a_missing_folder(refused: Callable[..., str]) -> None:
    assert "there is no folder nowhere" in refused("optimize", "nowhere")


def test_an_empty_folder(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty" in refused("optimize", "empty")


def test_a_class_folder_without_images(refused: Callable[..., str], own: Path) -> None:
    (own / "zebra").mkdir()
    assert "zebra has no images" in refused("optimize", own)


def test_one_class_only(refused: Callable[..., str], own: Path) -> None:
    for folder in sorted(own.iterdir())[1:]:
        shutil.rmtree(folder)
    assert "one class only, 'apple'" in refused("optimize", own)


@pytest.mark.slow
def test_a_truncated_image_is_named_with_the_option_that_skips_it(
    refused: Callable[..., str], run: Run, own: Path
) -> None:
    bad = own / "cup" / "002.png"
    bad.write_bytes(bad.read_bytes()[:200])

    sentence = refused("optimize", own, *QUICK)
    assert str(bad) in sentence
    assert "--skip-bad-images" in sentence
    assert run("optimize", own, *QUICK, "--skip-bad-images").code == 0


def test_too_few_classes_for_novel(refused: Callable[..., str], own: Path) -> None:
    for folder in sorted(own.iterdir())[3:]:
        shutil.rmtree(folder)
    assert "--novel needs at least 4 classes" in refused("optimize", own, "--novel")


def test_a_class_name_of_sixty_words_is_named_before_any_trial(
    refused: Callable[..., str], own: Path, tmp_path: Path
) -> None:
    name = " ".join(f"w{number}" for number in range(60))
    (own / "cup").rename(own / name)

    assert name in refused("optimize", own, "--out", "run")
    assert not (tmp_path / "run" / "journal.jsonl").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--clip", "open_clip:ViT-B-33/openai"], "ViT-B-32"),
        (["--clip", "clip"], "names no encoder"),
        (["--device", "toaster"], "toaster"),
        (["--precision", "int1"], "int1"),
        (["--prompt-model", "hf:"], "names no model"),
        (["--prompt-model", "openai/"], "openai/"),
        (["--image-model", "offline"], "sees no images"),
        (["--image-model", "file:missing.txt"], "missing.txt"),
        (["--initial", "a photo"], "<CLASS>"),
        (["--steps", "0"], "--steps must be"),
        (["--prompts-per-step", "0"], "--prompts-per-step must"),
        (["--max-calls", "-1"], "--max-calls must"),
        (["--shots", "0"], "--shots"),
        (["--hold-out", "1.5"], "--hold-out"),
        (["--timeout", "0"], "--timeout"),
        (["--timeout", "nan"], "--timeout"),
        (["--strategy", "nope"], "'steps'"),
        (["--steady", "--strategy", "evolve"], "--steady"),
        (["--test", "nowhere"], "nowhere"),
        (["--out", ""], "after '--out'"),
        (["--num-threads", "0"], "--num-threads"),
    ],
)
def test_an_option_that_cannot_be(
    refused: Callable[..., str], pictures: Path, arguments: list[str], expected: str
) -> None:
    assert expected in refused("optimize", pictures, *arguments)


@pytest.mark.slow
def test_fewer_descriptions_than_images(
    refused: Callable[..., str], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "texts.txt").write_text("grey\n" * 3)
    assert "3 descriptions" in refused("optimize", pictures, "--image-model", "file:texts.txt")


def test_an_unwritable_run_folder(
    refused: Callable[..., str], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert "file/run cannot be used" in refused("optimize", pictures, "--out", "file/run")


def test_a_run_folder_among_the_images(
    refused: Callable[..., str], own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "among the images" in refused("optimize", own, "--out", own / "run")
    monkeypatch.chdir(own)
    assert "--out" in refused("optimize", ".")
    assert not (own / "runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("other", [["--seed", 1], ["--shots", 2], ["--history-size", 3]])
def test_the_run_folder_of_another_run_is_left_as_it_is(
    refused: Callable[..., str], run: Run, pictures: Path, tmp_path: Path, other: list[object]
) -> None:
    run("optimize", pictures, *QUICK, "--out", "run")
    before = {file: file.read_bytes() for file in (tmp_path / "run").iterdir() if file.is_file()}

    assert "belongs to another run, with" in refused(
        "optimize", pictures, *QUICK, *other, "--out", "run"
    )
    assert before == {file: file.read_bytes() for file in before}


@pytest.mark.slow
def test_a_demo_of_another_seed_does_not_touch_the_pictures(
    refused: Callable[..., str], run: Run, tmp_path: Path
) -> None:
    run("optimize", *QUICK, "--out", "run")
    picture = tmp_path / "run/pictures/seed0-shots1/train/apple/000.png"
    before = picture.read_bytes()

    refused("optimize", *QUICK, "--seed", 1, "--out", "run")
    assert picture.read_bytes() == before


@pytest.mark.slow
def test_a_full_disk_ends_with_a_sentence_and_the_same_command_goes_on(
    run: Run, pictures: Path, tmp_path: Path
) -> None:
    def no_more_than(most_bytes: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    command = ["optimize", str(pictures), "--steps", "3", "--out"]
    full = subprocess.run(
        [sys.executable, "-m", "ipo_dspy.cli", *command, "full"],
        cwd=tmp_path,
        preexec_fn=lambda: no_more_than(6000),
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 1
    assert "Traceback" not in full.stderr
    assert "journal.jsonl cannot be written" in full.stderr.splitlines()[-1]

    assert run(*command, "full").code == 0
    assert run(*command, "never-full").code == 0
    programs = [(tmp_path / out / "program.json").read_bytes() for out in ("full", "never-full")]
    assert programs[0] == programs[1]


def test_a_text_that_is_called_a_picture(refused: Callable[..., str], own: Path) -> None:
    (own / "cup" / "text.png").write_text("I am no image")
    assert "text.png" in refused("evaluate", "a <CLASS>", own)


@pytest.mark.slow
def test_turned_and_transparent_images_are_fine(run: Run, own: Path) -> None:
    file = own / "cup" / "000.png"
    image = Image.open(file).convert("RGBA")
    image.putalpha(128)
    image.save(file)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(own / "key" / "000.png").convert("RGB").save(own / "key" / "turned.jpg", exif=exif)

    assert run("evaluate", "a <CLASS>", own).code == 0


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("a photo", "<CLASS>"), ("missing.json", "missing.json"), ("broken.json", "broken.json")],
)
def test_evaluating_what_is_no_prompt(
    refused: Callable[..., str], pictures: Path, tmp_path: Path, prompt: str, expected: str
) -> None:
    (tmp_path / "broken.json").write_text("{}")
    assert expected in refused("evaluate", prompt, pictures)


@pytest.mark.slow
def test_a_fault_of_the_program_keeps_its_traceback(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: CLIPClassifier, path: object) -> None:
        raise KeyError(path)

    monkeypatch.setattr(CLIPClassifier, "save", broken)
    with pytest.raises(KeyError) as fault:
        run("optimize", pictures, *QUICK)
    assert "report" in "".join(fault.value.__notes__)


@pytest.mark.slow
def test_only_errors_of_the_package_are_taken_for_the_users_mistake(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: CLIPClassifier, path: object) -> None:
        raise ValueError(path)

    monkeypatch.setattr(CLIPClassifier, "save", broken)
    with pytest.raises(ValueError, match="program"):
        run("optimize", pictures, *QUICK)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["optimize", "p", "--shots", "2.5"], "'2.5'"),
        (["optimize", "p", "--steps", "1e3"], "'1e3'"),
        (["predict", "p", "--program", "x.json", "--top-k", "1.5"], "'1.5'"),
        (["optimize", "p", "--preset", "papre"], "paper"),
        (["optimize", "p", "extra"], "no place for 'extra'"),
        (["optimize", "p", "--stepps", "3"], "--steps"),
        (["optimise", "p"], "optimize"),
        (["evaluate", "a <CLASS>"], "FOLDER"),
    ],
)
def test_a_command_line_that_cannot_be_read_ends_with_2_and_one_sentence(
    run: Run, arguments: list[str], expected: str
) -> None:
    outcome = run(*arguments)
    assert outcome.code == 2
    [sentence] = outcome.err.splitlines()
    assert sentence.startswith("ipo-dspy: ")
    assert expected in sentence
    assert "--help" in sentence


@pytest.fixture
def saved(run: Run) -> str:
    """A saved program in the working folder."""
    CLIPClassifier(("x", "y"), "demo", "a chalk <CLASS>").save("saved.json")
    return "saved.json"


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_a_table_takes_no_other_files_place(
    refused: Callable[..., str], run: Run, pictures: Path, saved: str, command: str
) -> None:
    before = Path(saved).read_bytes()
    assert saved in refused(command, saved, pictures, "--out", saved)
    assert Path(saved).read_bytes() == before
    for _ in range(2):
        assert run(command, saved, pictures, "--out", "table.json").code == 0


def test_a_method_without_a_checkpoint_is_refused(
    refused: Callable[..., str], pictures: Path
) -> None:
    assert "--method" in refused("evaluate", "a <CLASS>", pictures, "--method", "coop")


@pytest.mark.parametrize("out", ["file/texts.txt", "own/cup/000.png", "own"])
def test_descriptions_are_given_room_before_any_is_made(
    refused: Callable[..., str], own: Path, tmp_path: Path, out: str
) -> None:
    (tmp_path / "file").write_text("")
    before = (own / "cup" / "000.png").read_bytes()
    assert "--out" in refused("describe", own, "--image-model", "openai/x", "--out", out)
    assert (own / "cup" / "000.png").read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("table.jsonl", '{"path": "a.png", "label": "a"}\n{oops', "line 2 of table.jsonl"),
        ("table.csv", "path,label\na.png,a\nb.png\n", "line 3 of table.csv"),
    ],
)
def test_a_damaged_table_is_told_by_its_line(
    refused: Callable[..., str], tmp_path: Path, name: str, content: str, expected: str
) -> None:
    (tmp_path / name).write_text(content)
    assert expected in refused("optimize", name)


def test_a_damaged_program_is_told_by_its_place(
    refused: Callable[..., str], pictures: Path, saved: str
) -> None:
    text = Path(saved).read_text()
    Path("typed.json").write_text(text.replace('"encoder": "demo"', '"encoder": 3'))
    Path("cut.json").write_text(text[: len(text) // 2])
    assert "typed.json: " in (told := refused("evaluate", "typed.json", pictures))
    assert "clip.encoder" in told
    assert re.search(r"cut\.json .* line \d+", refused("evaluate", "cut.json", pictures))


def test_images_of_ones_own_to_test_on_leave_nothing_to_hold_out(
    refused: Callable[..., str], pictures: Path, own: Path
) -> None:
    assert "--hold-out" in refused("optimize", pictures, "--test", own, "--hold-out", "0.5")
    assert "unseen" in refused("plan", pictures, "--test", own)
    assert "--test" in refused("plan", "--test", own)


@pytest.mark.parametrize(
    "arguments",
    [("plan", "--shots", "2.5"), ("plan", "--steps", "1e1"), ("predict", "--top-k", "1.5")],
)
def test_fractions_are_not_cut_to_whole_numbers(
    run: Run, pictures: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    CLIPClassifier(("cup", "key"), "demo").save(tmp_path / "p.json")
    command, *options = arguments
    needed = ("--program", "p.json") if command == "predict" else ()
    outcome = run(command, pictures, *needed, *options)
    assert outcome.code == 2
    assert options[0] in outcome.err
    assert options[1] in outcome.err


@pytest.mark.slow
def test_folders_may_begin_with_a_bracket(run: Run, own: Path, tmp_path: Path) -> None:
    CLIPClassifier(("cup", "key"), "demo").save(tmp_path / "p.json")
    own.rename(tmp_path / "[own]")
    assert run("predict", "[own]", "--program", "p.json").code == 0
    assert run("compare", "p.json", "a <CLASS>", "[own]").code == 0


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_a_program_is_not_replaced_by_its_figures(
    refused: Callable[..., str], pictures: Path, tmp_path: Path, command: str
) -> None:
    file = tmp_path / "p.json"
    CLIPClassifier(("cup", "key"), "demo").save(file)
    before = file.read_bytes()
    assert "p.json" in refused(command, "p.json", pictures, "--out", file)
    assert file.read_bytes() == before


def test_links_in_a_circle_are_a_sentence(
    refused: Callable[..., str], pictures: Path, tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert "loop" in refused("optimize", pictures, "--out", "loop/run")


def test_a_folder_that_is_not_there_leaves_no_run_folder(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    refused("optimize", "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_arguments_of_the_library_are_told_as_options(
    refused: Callable[..., str], pictures: Path
) -> None:
    assert "--steps must be" in refused("optimize", pictures, "--steps", 0)
    assert "--max-dollars must be" in refused("optimize", pictures, "--max-dollars", -1)


@pytest.fixture
def no_image_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the decoding of an image end the test."""

    def opened(*arguments: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Image, "open", opened)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


@pytest.mark.usefixtures("no_image_is_opened")
@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        *[
            (command, arguments, arguments[1].partition(":")[2].split("/")[0] or arguments[1])
            for command in ("optimize", "evaluate", "describe")
            for arguments in (
                ("--clip", "open_clip:ViT-B-99/openai"),
                ("--clip", "demo:small"),
                ("--device", "toaster"),
                ("--precision", "int1"),
                ("--backend", "sparky"),
                ("--class-names", "nowhere.txt"),
            )
        ],
        ("optimize", ("--prompt-model", "openai/gpt-4o-mini"), "OPENAI_API_KEY"),
        ("optimize", ("--image-model", "openai/gpt-4o-mini"), "OPENAI_API_KEY"),
        ("describe", ("--image-model", "openai/gpt-4o-mini"), "OPENAI_API_KEY"),
        ("optimize", ("--image-model", "file:{own}/cup/000.png"), "UTF-8"),
        ("optimize", ("--prompt-model", "hf:{own}"), "config.json"),
        ("optimize", ("--api-base", "http://localhost:9"), "--api-base"),
        ("optimize", ("--shots", "9" * 30), "--shots"),
        ("optimize", ("--hold-out", "0.5", "--test", "{own}"), "--test, "),
        ("optimize", ("--test", "nowhere"), "nowhere"),
        ("optimize", ("--initial", "w " * 200 + "<CLASS>"), "tokens"),
        ("optimize", ("--out", "damaged"), "line 1"),
        ("plan", ("--shots", "0"), "--shots"),
        ("plan", ("--clip", "clip"), "names no encoder"),
        ("plan", ("--initial", "a photo"), "<CLASS>"),
        ("describe", ("--image-model", "none"), "none"),
        ("describe", ("--api-base", "http://localhost:9"), "--api-base"),
        ("describe", ("--out", "saved.json"), "saved.json"),
        ("embed", ("--errors", "{own}"), "folder"),
    ],
)
def test_cheap_checks_come_before_an_image_is_decoded(
    refused: Callable[..., str],
    own: Path,
    tmp_path: Path,
    command: str,
    arguments: tuple[str, ...],
    expected: str,
) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "journal.jsonl").write_text("no json\n")
    (tmp_path / "saved.json").write_text("{}")
    before = sorted(filter(Path.is_file, tmp_path.rglob("*")))
    prompt = ["a <CLASS>"] if command == "evaluate" else []
    given = [argument.format(own=own) for argument in arguments]
    assert expected in refused(command, *prompt, own, *given)
    assert sorted(filter(Path.is_file, tmp_path.rglob("*"))) == before


@pytest.mark.parametrize("number", ["1_000", "１２", " 3", "0x10", "+", "9" * 5000])
def test_whole_numbers_are_written_in_figures(run: Run, pictures: Path, number: str) -> None:
    assert run("optimize", pictures, "--steps", number).code == 2


def test_the_demo_says_that_it_has_novel_classes_anyway(refused: Callable[..., str]) -> None:
    assert "--novel" in refused("optimize", "--novel")


@pytest.mark.parametrize("file", ["journal.jsonl", "work.json", "program.json", "report.html"])
@pytest.mark.parametrize("to", ["weights", "open_clip", "program"])
def test_an_export_takes_no_file_of_a_run_away(
    refused: Callable[..., str], saved: str, tmp_path: Path, to: str, file: str
) -> None:
    (tmp_path / "run").mkdir()
    for name in ("journal.jsonl", file):
        (tmp_path / "run" / name).write_text("{}")
    assert "would be replaced" in refused("export", saved, "--to", to, "--out", f"run/{file}")
    assert (tmp_path / "run" / file).read_text() == "{}"


@pytest.mark.parametrize("option", [("--images", "x.png"), ("--dataset", "flowers")])
def test_what_a_format_has_no_use_for_is_told(
    refused: Callable[..., str], saved: str, option: tuple[str, str]
) -> None:
    assert option[0] in refused("export", saved, "--to", "open_clip", *option)
