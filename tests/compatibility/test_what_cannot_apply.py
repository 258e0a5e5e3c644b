"""Optimizers that cannot work on a classifier without a language model, and what they say."""

import re
from typing import Any

import dspy
import pytest
from dspy.teleprompt import AvatarOptimizer
from dspy.teleprompt.reanchor import ReAnchor

from ipo_dspy import CLIPClassifier, IPOOptimizer, clip_acc
from ipo_dspy.proposing.faults import NO_LANGUAGE_MODEL
from ipo_dspy.upstream.dspy_parts import InstructionProposer

Examples = list[dspy.Example]


def test_reanchor_calibrates_decisions_of_language_models_and_finds_none(
    program: CLIPClassifier, trainset: Examples
) -> None:
    with pytest.raises(ValueError, match="at least one Predict with a decision output"):
        ReAnchor(clip_acc).compile(program, trainset=trainset)


def test_bootstrap_finetune_asks_for_a_language_model_to_train(
    program: CLIPClassifier, trainset: Examples
) -> None:
    optimizer = dspy.BootstrapFinetune(metric=clip_acc, num_threads=1)
    with pytest.raises(ValueError, match="does not have an LM assigned"):
        optimizer.compile(program, trainset=trainset)


def test_bootstrap_finetune_cannot_train_a_language_model_without_provider(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM
) -> None:
    program.set_lm(lm)
    optimizer = dspy.BootstrapFinetune(metric=clip_acc, num_threads=1)
    with pytest.raises(Exception, match="does not support fine-tuning"):
        optimizer.compile(program, trainset=trainset)


def test_avatar_optimizer_calls_what_dspy_no_longer_has() -> None:
    with pytest.raises(AttributeError, match="TypedPredictor"):
        AvatarOptimizer(metric=clip_acc)


@pytest.mark.skipif(InstructionProposer is None, reason="DSPy 3.4.0 fails in words of its own")
def test_better_together_needs_set_lm_and_says_so(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM
) -> None:
    optimizer = dspy.BetterTogether(clip_acc, ipo=IPOOptimizer(clip_acc, prompt_model=lm))
    with pytest.raises(ValueError, match=r"set_lm\(lm\)"):
        optimizer.compile(program, trainset=trainset, strategy="ipo")


@pytest.mark.parametrize("name", ["copro", "simba", "infer_rules"])
def test_optimizers_of_instructions_need_a_language_model(
    name: str, program: CLIPClassifier, trainset: Examples, optimizers: dict[str, Any]
) -> None:
    """COPRO says so; SIMBA and InferRules stumble over the one they have not."""
    with dspy.context(lm=None), pytest.raises((ValueError, AttributeError, AssertionError)):
        optimizers[name](program, trainset, None)


def test_miprov2_needs_a_language_model_when_it_is_made() -> None:
    with dspy.context(lm=None), pytest.raises(ValueError, match="default LM"):
        dspy.MIPROv2(metric=clip_acc)


def test_ipo_says_which_language_model_to_pass(program: CLIPClassifier, trainset: Examples) -> None:
    with dspy.context(lm=None), pytest.raises(ValueError, match=re.escape(NO_LANGUAGE_MODEL)):
        IPOOptimizer(clip_acc).compile(program, trainset=trainset)


def test_miprov2_wants_as_many_examples_as_a_minibatch(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM
) -> None:
    optimizer = dspy.MIPROv2(
        metric=clip_acc, prompt_model=lm, task_model=lm, auto=None, num_candidates=2
    )
    with pytest.raises(ValueError, match="Minibatch size cannot exceed"):
        optimizer.compile(program, trainset=trainset, valset=trainset, num_trials=2)


def test_gepa_wants_a_metric_of_five_arguments(lm: dspy.LM) -> None:
    def two(example: dspy.Example, pred: dspy.Prediction) -> float:
        return 0.0

    with pytest.raises(TypeError, match="five arguments"):
        dspy.GEPA(metric=two, reflection_lm=lm, max_metric_calls=10)
    dspy.GEPA(metric=clip_acc, reflection_lm=lm, max_metric_calls=10)


def test_simba_finds_nothing_to_learn_from_scores_of_0_and_1(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM
) -> None:
    optimizer = dspy.SIMBA(
        metric=clip_acc, prompt_model=lm, bsize=6, num_candidates=2, max_steps=1, num_threads=1
    )
    with dspy.context(lm=lm):
        optimizer.compile(program, trainset=trainset, seed=0)
    assert lm.engine.requests == []
