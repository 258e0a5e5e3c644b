import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ipo_dspy.encoders
from ipo_dspy import CLIPClassifier, CoOp, MaPLe, read_folder
from ipo_dspy.prompts.template import Template
from ipo_dspy.scoring.comparison import Evaluator

Run = Callable[..., Any]


def accuracies(out: str) -> list[float]:
    """Read the numbered rows of the first table."""
    return [
        float(row[1])
        for row in re.finditer(
            r"^ +\d+ .* (\d+\.\d\d) +[\d.]+ to [\d.]+ +\d+\.\d{4}( +[\d.e-]+)? *$", out, re.M
        )
    ]


@pytest.mark.slow
def test_prompts_are_shown_side_by_side_as_they_evaluate(run: Run, pictures: Path) -> None:
    templates = ["a chalk drawing of a <CLASS>.", "a photo of a <CLASS>."]
    outcome = run("evaluate", templates[0], pictures, "--against", templates[1])

    embedder = CLIPClassifier(("a", "b")).embedder
    expected = Evaluator(embedder, read_folder(pictures)).evaluate([Template(t) for t in templates])
    assert accuracies(outcome.out) == [round(e.score.accuracy, 2) for e in expected]
    for name in read_folder(pictures).classnames:
        assert re.search(rf"^ +{name} +\d+\.\d +\d+\.\d *$", outcome.out, re.M)


def test_any_spelling_of_the_slot_will_do(run: Run, pictures: Path) -> None:
    outcome = run("evaluate", "a chalk drawing of {}", pictures)

    assert "a chalk drawing of <CLASS>" in outcome.out


def test_a_saved_program_is_a_prompt_too(run: Run, pictures: Path) -> None:
    CLIPClassifier(("x", "y"), "demo", "a chalk <CLASS>").save("saved.json")

    assert "a chalk <CLASS>" in run("evaluate", "saved.json", pictures).out


def test_the_encoder_of_a_saved_program_is_used(run: Run, pictures: Path) -> None:
    CLIPClassifier(("x", "y"), "demo", "a chalk <CLASS>").save("saved.json")
    saved = Path("saved.json")
    saved.write_text(saved.read_text().replace('"demo"', '"open_clip:ViT-B-33/openai"'))

    outcome = run("evaluate", "saved.json", pictures)
    assert outcome.code == 1
    assert "ViT-B-33" in outcome.err


@pytest.mark.slow
def test_an_encoder_that_is_asked_for_comes_before_that_of_a_saved_program(
    run: Run, pictures: Path
) -> None:
    CLIPClassifier(("x", "y"), "demo", "a chalk <CLASS>").save("saved.json")
    saved = Path("saved.json")
    saved.write_text(saved.read_text().replace('"demo"', '"open_clip:ViT-B-33/openai"'))

    outcome = run("evaluate", "saved.json", pictures, "--clip", "demo")
    assert outcome.code == 0
    assert "encoder demo" in outcome.out
    assert "was saved with the encoder open_clip:ViT-B-33/openai" in outcome.err


@pytest.mark.slow
def test_baselines_are_the_bare_name_the_default_and_the_ensemble(run: Run, pictures: Path) -> None:
    outcome = run("evaluate", "a chalk drawing of a <CLASS>", pictures, "--baselines")

    assert len(accuracies(outcome.out)) == 4
    for name in ("bare class name", "a photo of a <CLASS>.", "mean of 80 templates"):
        assert name in outcome.out


def test_a_prompt_that_is_too_long_for_a_class_is_refused(run: Run, pictures: Path) -> None:
    outcome = run("evaluate", "very " * 90 + "<CLASS>", pictures)

    assert outcome.code == 1
    assert "tokens" in outcome.err


@pytest.mark.slow
def test_a_learned_program_is_evaluated_with_what_it_learned(run: Run, pictures: Path) -> None:
    student = CLIPClassifier.from_folder(pictures)
    best = CoOp(epochs=2, lr=0.1, progress=False).compile(student)
    best.save("learned.json")

    outcome = run("evaluate", "learned.json", pictures, "--against", "a <CLASS>")
    right = [best(image=each.image).label == each.label for each in read_folder(pictures).examples]
    assert accuracies(outcome.out)[0] == round(100 * sum(right) / len(right), 2)


@pytest.mark.slow
def test_a_checkpoint_of_the_authors_code_is_evaluated(run: Run, pictures: Path) -> None:
    program = CLIPClassifier.from_folder(pictures)
    prompted = MaPLe().prompted(program)
    learned = prompted.learned()
    state = {theirs: learned[own] for own, theirs in prompted.official_names().items()}
    torch.save({"state_dict": state, "epoch": 5}, "model.pth.tar-5")

    outcome = run("evaluate", "model.pth.tar-5", pictures, "--method", "maple", "--clip", "demo")
    same = MaPLe().load_official(program, state)
    right = [same(image=each.image).label == each.label for each in read_folder(pictures).examples]
    assert accuracies(outcome.out) == [round(100 * sum(right) / len(right), 2)]


def test_checkpoints_that_hold_code_or_another_method_are_refused(run: Run, pictures: Path) -> None:
    torch.save({"state_dict": {"weird": torch.zeros(1)}}, "other.pt")
    torch.save({"state_dict": Path("x")}, "code.pt")
    Path("text.pt").write_text("no tensors")
    for file in ("other.pt", "code.pt", "text.pt"):
        outcome = run("evaluate", file, pictures, "--method", "coop")
        assert outcome.code == 1
        assert "Traceback" not in outcome.err
    assert run("evaluate", "other.pt", pictures, "--method", "ipo").code == 1


@pytest.mark.slow
def test_prompts_are_compared_side_by_side_and_written(run: Run, pictures: Path) -> None:
    run("optimize", pictures, "--steps", 1, "--out", "runs/mine")
    outcome = run("compare", "runs/mine", "a photo of a <CLASS>.", pictures, "--out", "table.json")

    assert outcome.code == 0, outcome.err
    rows = json.loads(Path("table.json").read_text())
    assert [round(row["accuracy"], 2) for row in rows] == accuracies(outcome.out)
    assert rows[0]["p"] is None
    assert rows[1]["images"] == 30


def test_a_comparison_needs_a_prompt_and_images(run: Run, pictures: Path) -> None:
    assert run("compare", pictures).code == 1
    assert run("compare", "a <CLASS>", pictures, "--out", "table.xlsx").code == 1
    assert run("compare", "runs/none", pictures).code == 1


@pytest.mark.slow
def test_published_prompts_are_scored_on_the_images_at_hand(run: Run, pictures: Path) -> None:
    outcome = run("evaluate", "a <CLASS>", pictures, "--published", "poster")
    assert outcome.code == 0, outcome.err
    assert len(accuracies(outcome.out)) == 12


def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What encoders are loaded with from now on."""
    seen: list[dict[str, Any]] = []
    load = ipo_dspy.encoders.load_encoder

    def watched(spec: str, **options: Any) -> Any:
        seen.append(options)
        return load(spec, **options)

    monkeypatch.setattr("ipo_dspy.encoders.load_encoder", watched)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("switch", [[], ["--trust-remote-code"]])
def test_code_of_an_encoder_is_trusted_by_the_switch_alone(
    switch: list[str], run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = asked_for(monkeypatch)
    run("evaluate", "a <CLASS>", pictures, *switch)
    run("describe", pictures, *switch)
    assert [options["trust_remote_code"] for options in seen] == [bool(switch)] * 2


@pytest.mark.slow
def test_only_what_is_typed_may_have_an_encoder_fetched(
    run: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    CLIPClassifier(("x", "y"), "demo", "a chalk <CLASS>").save("saved.json")
    seen = asked_for(monkeypatch)
    run("evaluate", "saved.json", pictures)
    run("evaluate", "saved.json", pictures, "--clip", "demo")
    run("evaluate", "a <CLASS>", pictures)
    assert [options["fetch"] for options in seen] == [False, True, True]
