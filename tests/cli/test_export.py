from pathlib import Path

import dspy
import pytest
from safetensors.torch import load_file

from ipo_dspy import CLIPClassifier, CoOp
from ipo_dspy.demo.world import draw

from .conftest import Run


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    run = tmp_path / "found"
    run.mkdir()
    CLIPClassifier(["cat", "cup"], "demo", "a chalk drawing of a <CLASS>").save(
        run / "program.json"
    )
    return run


def test_weights_are_written_for_a_run_folder_and_for_a_program(run: Run, saved: Path) -> None:
    assert run("export", saved, "--out", "one.safetensors").code == 0
    assert run("export", saved / "program.json", "--to", "weights").code == 0
    one, two = load_file("one.safetensors"), load_file("program-weights.safetensors")
    assert one["weights"].shape[0] == 2
    assert (one["weights"] == two["weights"]).all()


def test_an_unknown_format_is_told_which_there_are(run: Run, saved: Path) -> None:
    outcome = run("export", saved, "--to", "wieghts")
    assert outcome.code == 1
    assert "'weights'" in outcome.err


def test_what_is_no_run_is_a_sentence(run: Run, tmp_path: Path) -> None:
    outcome = run("export", tmp_path / "nowhere")
    assert outcome.code == 1
    assert "nowhere" in outcome.err


def test_the_report_of_a_run_is_taken_out_of_its_folder(run: Run, saved: Path) -> None:
    alone = run("export", saved, "--to", "report")
    assert alone.code == 1
    assert "report.html" in alone.err
    (saved / "report.html").write_text("<html>")
    assert run("export", saved, "--to", "report", "--out", "share/it.html").code == 0
    assert Path("share/it.html").read_text() == "<html>"


@pytest.mark.parametrize("out", ["found/program.json", "found/journal.jsonl"])
def test_a_run_is_not_replaced_by_its_export(run: Run, saved: Path, out: str) -> None:
    (saved / "journal.jsonl").touch()
    before = Path(out).read_bytes()
    outcome = run("export", saved, "--to", "open_clip", "--out", out)
    assert outcome.code == 1
    assert out in outcome.err
    assert Path(out).read_bytes() == before


@pytest.mark.slow
def test_a_learned_program_keeps_its_tensors_where_it_is_exported_to(
    run: Run, tmp_path: Path
) -> None:
    names = ("cat", "cup")
    examples = [
        dspy.Example(image=draw(name, "chalk", seed=2), label=name).with_inputs("image")
        for name in names
    ]
    student = CLIPClassifier(names, "demo")
    program = CoOp(epochs=1, progress=False).compile(student, trainset=examples)
    program.save(tmp_path / "learned.json")
    assert (
        run("export", tmp_path / "learned.json", "--to", "program", "--out", "a/b.json").code == 0
    )
    assert sorted(file.name for file in Path("a").iterdir()) == ["b.json", "b.safetensors"]
    CLIPClassifier.from_file("a/b.json")
