"""The placeholder survives other optimizers, and what loses it is repaired and counted."""

import logging
from collections.abc import Callable
from typing import Any

import dspy
import pytest

from ipo_dspy import CLIPClassifier, CLIPPredict, IPOOptimizer, clip_acc
from ipo_dspy.programs.other_optimizers import MIPROV2_SETTINGS, TemplateProposer
from ipo_dspy.testing import COLOURS, scripted_lm
from ipo_dspy.upstream.dspy_parts import InstructionProposer

Examples = list[dspy.Example]
Optimize = Callable[..., dspy.Module]
AnsweringLM = Callable[..., dspy.LM]

PROSE = "Look closely at the picture."
RULE = "keeps the placeholder <CLASS> exactly once"


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    "optimize",
    ["copro", "miprov2_zero_shot", "gepa", "simba", "infer_rules"],
    indirect=True,
)
def test_what_comes_without_a_placeholder_is_counted_and_does_no_harm(
    optimize: Optimize, program: CLIPClassifier, trainset: Examples, answering_lm: AnsweringLM
) -> None:
    best = optimize(program, trainset, answering_lm(PROSE, f"{PROSE} Twice."))
    assert program.repairs
    assert all(PROSE in text for text in program.repairs)
    assert all("<CLASS>" in template for template in program.repairs.values())
    assert best.repairs == program.repairs
    assert best(image=trainset[0].image).label in COLOURS


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ["copro", "gepa", "simba", "ipo"], indirect=True)
def test_templates_are_used_as_they_come(
    optimize: Optimize, program: CLIPClassifier, trainset: Examples, answering_lm: AnsweringLM
) -> None:
    optimize(program, trainset, answering_lm("a crisp photo of a {}.", "a flat [CLASS]."))
    assert program.repairs == {}


def test_a_text_is_reported_once_however_many_copies_an_optimizer_makes(
    program: CLIPClassifier, trainset: Examples, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        copy = program.deepcopy()
        copy.predict.signature = copy.predict.signature.with_instructions(PROSE)
        copy(image=trainset[0].image)
    reports = [r for r in caplog.records if r.levelno == logging.WARNING and PROSE in r.message]
    assert len(reports) == 1
    assert program.repairs == {PROSE: f"<CLASS>. {PROSE}"}


def test_ipo_refuses_what_others_repair(program: CLIPClassifier, trainset: Examples) -> None:
    optimizer = IPOOptimizer(clip_acc, prompt_model=scripted_lm([PROSE]), steps=1)
    best = optimizer.compile(program, trainset=trainset)
    refused = next(t for t in best.detailed_results.trials if t.step > 0)
    assert (refused.state, refused.text) == ("invalid", PROSE)
    assert best.repairs == {}


def test_gepa_tells_its_language_model_what_a_template_is(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM
) -> None:
    """By the metric's feedback alone."""
    dspy.GEPA(metric=clip_acc, reflection_lm=lm, max_metric_calls=40, num_threads=1).compile(
        program, trainset=trainset, valset=trainset
    )
    assert all(RULE in flat(request) for request in lm.engine.requests)


@pytest.mark.skipif(InstructionProposer is None, reason="DSPy 3.4.0 has no such proposer")
def test_the_proposer_for_gepa_asks_for_a_template_that_fits(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM
) -> None:
    best = dspy.GEPA(
        metric=clip_acc,
        reflection_lm=lm,
        instruction_proposer=TemplateProposer(program),
        max_metric_calls=120,
        num_threads=1,
    ).compile(program, trainset=trainset, valset=trainset)
    request = flat(lm.engine.requests[0])
    assert "I classify images with CLIP." in request
    assert "assistant with instructions to perform a task" not in request
    assert "may have at most 13 tokens besides the class name" in request
    assert best.template.text == "a crisp photo of a <CLASS>."


class Beside(dspy.Module):
    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.clip = CLIPPredict(list(COLOURS), encoder)
        self.explain = dspy.Predict("label: str -> explanation: str")

    def forward(self, image: object) -> dspy.Prediction:
        found = self.clip(image=image)
        return dspy.Prediction(
            label=found.label, explanation=self.explain(label=found.label).explanation
        )


@pytest.mark.skipif(InstructionProposer is None, reason="DSPy 3.4.0 has no such proposer")
def test_the_proposer_for_gepa_leaves_other_predictors_to_gepa(encoder: Any, lm: dspy.LM) -> None:
    program = Beside(encoder)
    proposer = TemplateProposer(program)
    shown = [{"Inputs": {}, "Generated Outputs": {}, "Feedback": "good"}]
    with dspy.context(lm=lm):
        proposed = proposer(
            {"clip": "a photo of a <CLASS>.", "explain": "Explain."},
            {"clip": shown, "explain": shown},
            ["explain", "clip"],
        )
    assert set(proposed) == {"clip", "explain"}
    of_other, of_template = (flat(request) for request in lm.engine.requests)
    assert "assistant with instructions to perform a task" in of_other
    assert "<CLASS>" not in of_other
    assert RULE in of_template


def test_miprov2_reads_what_a_template_is_and_little_else(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM
) -> None:
    optimizer = dspy.MIPROv2(
        metric=clip_acc,
        prompt_model=lm,
        task_model=lm,
        auto=None,
        num_candidates=3,
        num_threads=1,
    )
    best = optimizer.compile(
        program,
        trainset=trainset,
        valset=trainset,
        num_trials=3,
        minibatch=False,
        **MIPROV2_SETTINGS,
    )
    proposals = [r for r in lm.engine.requests if "[[ ## proposed_instruction ## ]]" in r]
    assert proposals
    for request in proposals:
        assert RULE in flat(request)
        assert "TensorScorer" not in request
        assert "def load_state" not in request
        assert len(request) < 8000
    assert best.predict.demos == []
    assert best.template.text == "a crisp photo of a <CLASS>."


def test_simba_tells_its_language_model_what_a_template_is(
    optimizers: dict[str, Optimize], program: CLIPClassifier, trainset: Examples, lm: dspy.LM
) -> None:
    with dspy.context(lm=lm):
        optimizers["simba"](program, trainset, lm)
    assert all(RULE in flat(request) for request in lm.engine.requests)
