"""One optimizer after the other, and what is kept of it on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from ipo_dspy import CLIPClassifier, IPOOptimizer, clip_acc, load_encoder
from ipo_dspy.programs.prompt_ensemble import prompt_ensemble
from ipo_dspy.testing import COLOURS

Examples = list[dspy.Example]
Optimize = Callable[..., dspy.Module]
AnsweringLM = Callable[..., dspy.LM]

FIRST = "a crisp photo of a <CLASS>."
SECOND = "a crisp flat photo of a <CLASS>."
CHAINS = ["ipo, gepa", "copro, ipo", "gepa, ipo", "ipo, copro, ipo", "miprov2_few_shot, ipo"]


@pytest.fixture
def chain(request: pytest.FixtureRequest) -> list[Optimize]:
    """The optimizers that the test is parametrized with, in order."""
    steps = request.getfixturevalue("optimizers")
    return [steps[name] for name in request.param.split(", ")]


def scores(program: dspy.Module, examples: Examples) -> list[float]:
    return [program(image=e.image)._probabilities.of(e.label) for e in examples]


@pytest.mark.slow
@pytest.mark.parametrize("chain", CHAINS, indirect=True)
def test_each_optimizer_goes_on_where_the_one_before_stopped(
    chain: list[Optimize], program: CLIPClassifier, trainset: Examples, answering_lm: AnsweringLM
) -> None:
    lm = answering_lm("a dim photo of a <CLASS>.", FIRST)
    best: Any = program
    for optimize in chain:
        with dspy.context(lm=lm):
            best = optimize(best, trainset, lm)
        assert FIRST in best.template.lines
    assert not best._compiled


@pytest.mark.slow
@pytest.mark.parametrize("chain", CHAINS, indirect=True)
def test_what_a_chain_gives_can_be_saved_and_loaded(
    chain: list[Optimize],
    program: CLIPClassifier,
    trainset: Examples,
    lm: dspy.LM,
    tmp_path: Path,
) -> None:
    best: Any = program
    for number, optimize in enumerate(chain):
        with dspy.context(lm=lm):
            best = optimize(best, trainset, lm)
        path = tmp_path / f"{number}.json"
        best.save(path)
        assert path.stat().st_size < 2000
        loaded = CLIPClassifier(["another"], program.embedder)
        loaded.load(path)
        assert scores(loaded, trainset) == scores(best, trainset)


def test_ipo_continues_from_an_ensemble_of_lines(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM
) -> None:
    two_lines = CLIPClassifier(program.classnames, program.embedder, f"{FIRST}\n{SECOND}")
    best = IPOOptimizer(clip_acc, prompt_model=lm, steps=1).compile(two_lines, trainset=trainset)
    assert best.detailed_results.trials[0].text == f"{FIRST}\n{SECOND}"


def test_ipo_continues_from_what_infer_rules_wrote(
    program: CLIPClassifier, trainset: Examples, answering_lm: AnsweringLM
) -> None:
    lm = answering_lm("Look closely at the picture.", SECOND)
    with dspy.context(lm=lm):
        rules = dspy.InferRules(metric=clip_acc, num_candidates=1, num_rules=1, num_threads=1)
        ruled = rules.compile(program, trainset=trainset, valset=trainset)
        best = IPOOptimizer(clip_acc, steps=1).compile(ruled, trainset=trainset)
    assert "Look closely" in ruled.predict.signature.instructions
    assert best.detailed_results.trials[0].text == "a photo of a <CLASS>."
    assert best.template.text == SECOND


def test_the_whole_program_can_be_saved_and_loaded(tmp_path: Path, trainset: Examples) -> None:
    program = CLIPClassifier(list(COLOURS), "demo", "a chalk drawing of a <CLASS>.")
    program.save(tmp_path / "program", save_program=True)
    size = sum(path.stat().st_size for path in (tmp_path / "program").iterdir())
    loaded = dspy.load(tmp_path / "program", allow_pickle=True)
    assert size < 10_000
    assert loaded.embedder.encoder is load_encoder("demo")
    assert scores(loaded, trainset) == scores(program, trainset)


def test_programs_saved_after_a_search_carry_no_results_into_the_next(
    program: CLIPClassifier, trainset: Examples, answering_lm: AnsweringLM
) -> None:
    optimizer = IPOOptimizer(clip_acc, prompt_model=answering_lm(FIRST, SECOND), steps=1)
    once = optimizer.compile(program, trainset=trainset)
    twice = optimizer.compile(once, trainset=trainset)
    for candidate in twice.candidate_programs:
        assert not hasattr(candidate["program"], "candidate_programs")


def test_ipos_best_prompts_become_one_ensemble(
    program: CLIPClassifier, trainset: Examples, answering_lm: AnsweringLM, tmp_path: Path
) -> None:
    optimizer = IPOOptimizer(clip_acc, prompt_model=answering_lm(FIRST, SECOND), steps=1)
    best = optimizer.compile(program, trainset=trainset)
    ensemble = prompt_ensemble([c["program"] for c in best.candidate_programs[:2]])
    assert ensemble.template.lines == (SECOND, FIRST)
    ensemble.save(tmp_path / "ensemble.json")
    loaded = CLIPClassifier.from_file(tmp_path / "ensemble.json", clip=program.embedder)
    assert scores(loaded, trainset) == scores(ensemble, trainset)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["copro", "miprov2_zero_shot", "simba", "ipo"])
def test_candidates_of_any_optimizer_can_be_joined(
    name: str,
    optimizers: dict[str, Optimize],
    program: CLIPClassifier,
    trainset: Examples,
    lm: dspy.LM,
) -> None:
    with dspy.context(lm=lm):
        best = optimizers[name](program, trainset, lm)
    ensemble = prompt_ensemble([c["program"] for c in best.candidate_programs[:2]])
    assert len(ensemble.template.lines) > 1


@pytest.mark.slow
def test_optimizers_share_one_encoder_however_long_the_chain(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM, encoder: Any, optimizers: Any
) -> None:
    best: Any = program
    for name in ["labeled", "ipo", "copro", "gepa", "simba", "ipo"]:
        with dspy.context(lm=lm):
            best = optimizers[name](best, trainset, lm)
    assert best.embedder is program.embedder
    assert encoder.copies == 0


def test_an_encoder_of_ones_own_is_saved_with_the_whole_program(
    program: CLIPClassifier, trainset: Examples, tmp_path: Path
) -> None:
    program.save(tmp_path / "program", save_program=True)
    loaded = dspy.load(tmp_path / "program", allow_pickle=True)
    assert scores(loaded, trainset) == scores(program, trainset)


def test_a_file_names_the_encoder_to_load_again(tmp_path: Path) -> None:
    program = CLIPClassifier(list(COLOURS), "demo", FIRST)
    program.save(tmp_path / "program.json")
    loaded = CLIPClassifier.from_file(tmp_path / "program.json")
    assert loaded.embedder.encoder is program.embedder.encoder
