"""The contest between optimizers, on colours whose good words are known."""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest

from benchmarks.judging import Judge, Verdict
from benchmarks.statistics import paired_bootstrap
from benchmarks.teleprompters.contest import Arena
from benchmarks.teleprompters.contestants import TELEPROMPTERS, Contest
from benchmarks.teleprompters.controls import CONTROLS
from benchmarks.teleprompters.meter import BudgetSpentError, Meter
from benchmarks.teleprompters.outcomes import write_json
from benchmarks.teleprompters.plot import plot
from benchmarks.teleprompters.table import markdown
from benchmarks.teleprompters.told import telling
from ipo_dspy import CLIPClassifier, offline_lm
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images import LabeledImages
from ipo_dspy.images.task import Task
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

BUDGET = 10
GOOD = "a crisp flat picture of a <CLASS>."


@pytest.fixture
def arena() -> Arena:
    images = LabeledImages(tuple(colour_examples(2)), tuple(COLOURS))
    base, novel = images.base_and_novel()
    task = Task("colours", base, {"base": base, "novel": novel}, DEFAULT_TEMPLATE.text)
    embedder = Embedder(ColourEncoder())
    return Arena(task, embedder, Judge(task, embedder), BUDGET, offline_lm)


def ask(lm: dspy.LM, **settings: object) -> None:
    dspy.Predict("question -> prompt")(question="?", lm=lm, config=settings)


def test_a_meter_ends_even_what_carries_on_after_errors() -> None:
    meter = Meter(budget=2)
    lm = scripted_lm(["a"])

    def carry_on() -> None:
        while True:
            try:
                ask(lm)
            except Exception:  # noqa: BLE001
                continue

    with dspy.context(callbacks=[meter]), pytest.raises(BudgetSpentError):
        carry_on()
    assert meter.calls == 2
    assert len(lm.engine.requests) == 2


def test_a_call_for_several_completions_counts_as_several() -> None:
    meter = Meter(budget=5)
    with dspy.context(callbacks=[meter]):
        ask(scripted_lm(["a"]), n=3, temperature=1.0)
    assert meter.calls == 3


def test_a_meter_notes_each_template_once_with_the_calls_before_it() -> None:
    meter = Meter(budget=5)
    [example] = colour_examples(1)[:1]
    program = CLIPClassifier(list(COLOURS), ColourEncoder())
    with dspy.context(callbacks=[meter]):
        program(image=example.image)
        ask(scripted_lm(["a"]))
        program.predict.signature = program.predict.signature.with_instructions(GOOD)
        program(image=example.image)
        program(image=example.image)
    assert [(t.calls, t.text) for t in meter.tried] == [(0, "a photo of a <CLASS>."), (1, GOOD)]


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TELEPROMPTERS, *CONTROLS])
def test_every_optimizer_uses_the_budget_and_no_more(arena: Arena, name: str) -> None:
    run = {**TELEPROMPTERS, **CONTROLS}[name]
    outcome = arena.run(run)
    assert outcome.calls == BUDGET
    assert len(outcome.best_so_far) == BUDGET + 1
    assert outcome.best_so_far[-1] == outcome.verdict.accuracies[2]


def test_what_is_best_in_training_is_what_is_judged(arena: Arena) -> None:
    def finds_the_good_words_third(contest: Contest) -> dspy.Module:
        for text in ("a <CLASS>.", "one <CLASS>.", GOOD, "two <CLASS>."):
            contest.meter.calls += 1
            contest.meter.note(text)
        return contest.program

    outcome = arena.run(finds_the_good_words_third)
    assert outcome.text == GOOD
    assert outcome.verdict.accuracies == (100.0, 100.0, 100.0)
    assert outcome.best_so_far[2] < outcome.best_so_far[3] == outcome.best_so_far[BUDGET]


def test_a_verdict_gives_base_novel_and_their_harmonic_mean() -> None:
    verdict = Verdict(np.array([True, True]), np.array([True, False, False, False]))
    assert verdict.accuracies == (100.0, 25.0, 40.0)


def verdicts(rate: float, seeds: int, images: int = 200) -> list[Verdict]:
    hits = np.arange(images) < rate * images
    return [Verdict(hits, hits) for _ in range(seeds)]


def test_an_interval_holds_the_mean_difference_and_narrows_with_images() -> None:
    few = paired_bootstrap(verdicts(0.9, 2), verdicts(0.7, 2), same_images=True, resamples=500)
    many = paired_bootstrap(
        verdicts(0.9, 2, images=800), verdicts(0.7, 2, images=800), same_images=True, resamples=500
    )
    assert math.isclose(few.mean, 20.0)
    assert few.low < 20.0 < few.high
    assert many.high - many.low < few.high - few.low
    assert many.low > 0


@pytest.mark.parametrize("same_images", [True, False])
def test_equal_methods_do_not_differ(same_images: bool) -> None:
    ours = verdicts(0.8, 3)
    same = paired_bootstrap(ours, ours, same_images=same_images, resamples=100)
    assert (same.mean, same.low, same.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("same_images", [True, False])
@pytest.mark.slow
def test_an_interval_of_95_percent_holds_the_truth_about_that_often(same_images: bool) -> None:
    """Two methods equally good: each is right on an image with a chance that is the image's own."""
    chance = np.random.default_rng(0)
    seeds, images, trials = 12, 100, 80

    def hits(rate: np.ndarray) -> np.ndarray:
        return chance.random(images) < rate

    def holds_zero(trial: int) -> bool:
        rates = [chance.beta(4, 1, size=images) for _ in range(1 if same_images else seeds)]
        ours, theirs = (
            [Verdict(hits(rate), hits(rate)) for rate in (rates * seeds)[:seeds]] for _ in range(2)
        )
        found = paired_bootstrap(ours, theirs, same_images=same_images, resamples=100, seed=trial)
        return found.low <= 0 <= found.high

    assert sum(map(holds_zero, range(trials))) / trials >= 0.85


@pytest.mark.slow
def test_results_say_where_they_come_from(arena: Arena, tmp_path: Path) -> None:
    runs: dict[str, Callable[[Contest], dspy.Module]] = {
        "IPO": TELEPROMPTERS["IPO"],
        "random search": CONTROLS["random search"],
    }
    outcomes = {name: [arena.run(run)] for name, run in runs.items()}
    options = argparse.Namespace(
        budget=BUDGET,
        lm="offline",
        data="colours",
        shots=2,
        seeds=[0],
        clip="colours",
        told=False,
    )
    written = write_json(tmp_path / "x.json", outcomes, options)
    assert json.loads((tmp_path / "x.json").read_text()) == json.loads(json.dumps(written))
    assert {"command", "date", "commit", "versions"} <= written["provenance"].keys()
    table = markdown(outcomes, written)
    assert "| IPO | " in table
    assert "| random search | " in table
    plot(outcomes, tmp_path / "x.svg")
    assert "<svg" in (tmp_path / "x.svg").read_text()


def test_told_optimizers_hear_what_the_images_look_like() -> None:
    quiet, told = scripted_lm(["a"]), scripted_lm(["a"])
    ask(quiet)
    ask(telling(told, "chalk (9)"))
    assert "chalk (9)" not in str(quiet.engine.requests)
    assert "chalk (9)" in str(told.engine.requests)


def test_the_offline_proposer_heeds_what_it_is_told() -> None:
    lm = telling(
        offline_lm(), "Words that fit the 9 images, and how many each: risograph print (9)"
    )
    answers = [
        dspy.Predict("basic_instruction -> proposed_instruction")(
            basic_instruction="a photo of a <CLASS>.", lm=lm
        ).proposed_instruction
        for _ in range(20)
    ]
    assert any("risograph print" in answer for answer in answers)


@pytest.mark.slow
def test_a_contest_in_parts_has_the_figures_of_one_in_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks.teleprompters import __main__ as module

    monkeypatch.chdir(tmp_path)

    def figures(*arguments: str) -> dict[str, Any]:
        command = ["x", "--budget", "3", "--only", "random search", "IPO", *arguments]
        monkeypatch.setattr(sys, "argv", [*command, "--out", "results"])
        module.main()
        written = json.loads(Path("results", "teleprompters_3.json").read_text())["optimizers"]
        for each in written.values():
            del each["seconds"]
        return written

    expected = figures("--seeds", "0", "1")
    figures("--seeds", "1", "--runs", "kept")
    assert figures("--seeds", "0", "1", "--runs", "kept") == expected
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.usefixtures("ray_cluster")
def test_a_contest_by_ray_has_the_figures_of_one_in_sequence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks.teleprompters import __main__ as module

    monkeypatch.chdir(tmp_path)
    found = []
    for backend in ("local", "ray"):
        command = ["x", "--budget", "3", "--seeds", "0", "--only", "random search", "IPO"]
        monkeypatch.setattr(sys, "argv", [*command, "--backend", backend, "--out", backend])
        module.main()
        written = json.loads(Path(backend, "teleprompters_3.json").read_text())["optimizers"]
        found.append([(each["h"], each["seeds"]) for each in written.values()])
    assert found[0] == found[1]


def test_who_fails_is_a_row_that_says_why(arena: Arena, tmp_path: Path) -> None:
    outcomes = {"IPO": [arena.run(TELEPROMPTERS["IPO"])]}
    options = argparse.Namespace(
        budget=BUDGET, lm="offline", data="colours", shots=2, seeds=[0], clip="colours", told=False
    )
    written = write_json(tmp_path / "x.json", outcomes, options, {("COPRO", 0): "no answer"})
    assert "| COPRO | failed with seed 0: no answer |" in markdown(outcomes, written)
