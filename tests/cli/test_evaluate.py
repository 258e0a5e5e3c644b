import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ipo_dspy import CLIPClassifier, read_folder
from ipo_dspy.prompts.template import Template
from ipo_dspy.scoring.comparison import Evaluator

Run = Callable[..., Any]


def accuracies(out: str) -> list[float]:
    """Read the numbered rows of the first table."""
    return [
        float(row[1]) for row in re.finditer(r"^ +\d+ .* (\d+\.\d\d) +\d+\.\d{4} *$", out, re.M)
    ]


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


def test_baselines_are_the_bare_name_the_default_and_the_ensemble(run: Run, pictures: Path) -> None:
    outcome = run("evaluate", "a chalk drawing of a <CLASS>", pictures, "--baselines")

    assert len(accuracies(outcome.out)) == 4
    for name in ("bare class name", "a photo of a <CLASS>.", "mean of 80 templates"):
        assert name in outcome.out


def test_a_prompt_that_is_too_long_for_a_class_is_refused(run: Run, pictures: Path) -> None:
    outcome = run("evaluate", "very " * 90 + "<CLASS>", pictures)

    assert outcome.code == 1
    assert "tokens" in outcome.err
