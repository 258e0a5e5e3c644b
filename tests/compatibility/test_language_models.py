"""IPO with every kind of language model and adapter that DSPy has."""

import json
from types import SimpleNamespace
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from ipo_dspy import CLIPClassifier, IPOOptimizer, clip_acc, offline_lm
from ipo_dspy.testing import scripted_lm

Examples = list[dspy.Example]

BEST = "a crisp flat photo of a <CLASS>."
MARKED = f"[[ ## prompt ## ]]\n{BEST}\n\n[[ ## completed ## ]]"


class OwnLM(dspy.BaseLM):
    """A language model in the old manner, by a subclass."""

    def __init__(self) -> None:
        super().__init__(model="own/model")

    def forward(self, prompt: Any = None, messages: Any = None, **settings: Any) -> Any:
        message = SimpleNamespace(content=MARKED, tool_calls=None)
        return SimpleNamespace(
            choices=[SimpleNamespace(message=message, finish_reason="stop")],
            usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            model="own/model",
        )


def found(program: CLIPClassifier, trainset: Examples, lm: dspy.BaseLM) -> CLIPClassifier:
    optimizer = IPOOptimizer(clip_acc, prompt_model=lm, steps=2, prompts_per_step=2)
    best: CLIPClassifier = optimizer.compile(program, trainset=trainset)
    return best


@pytest.mark.parametrize(
    ("adapter", "answer"),
    [
        (None, MARKED),
        (dspy.ChatAdapter(), MARKED),
        (dspy.JSONAdapter(), json.dumps({"prompt": BEST})),
        # XML cannot hold <CLASS>; the answer is taken as it is.
        (dspy.XMLAdapter(), f"<prompt>\n{BEST}\n</prompt>"),
        (dspy.TwoStepAdapter(scripted_lm([BEST])), f"I would write {BEST}"),
    ],
)
def test_every_adapter_works(
    adapter: dspy.Adapter | None, answer: str, program: CLIPClassifier, trainset: Examples
) -> None:
    with dspy.context(adapter=adapter):
        best = found(program, trainset, scripted_lm([answer], field=None))
    assert best.template.text == BEST


@pytest.mark.parametrize("adapter", [dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()])
def test_the_offline_proposer_understands_adapters(
    adapter: dspy.Adapter, program: CLIPClassifier, trainset: Examples
) -> None:
    with dspy.context(adapter=adapter):
        best = found(program, trainset, offline_lm())
    # The proposer does not know that a colour is a class here, and may write of black and white.
    read = [each for each in best.detailed_results.trials if "names the class" not in each.reason]
    assert len(read) > 1
    assert all(trial.state == "ok" for trial in read)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "lm",
    [scripted_lm([BEST]), OwnLM(), DummyLM([{"prompt": BEST}] * 4)],
    ids=["engine", "own", "dummy"],
)
def test_every_kind_of_language_model_works(
    lm: dspy.BaseLM, program: CLIPClassifier, trainset: Examples
) -> None:
    assert found(program, trainset, lm).template.text == BEST


def test_the_configured_language_model_is_taken(
    program: CLIPClassifier, trainset: Examples
) -> None:
    with dspy.context(lm=scripted_lm([BEST])):
        best = IPOOptimizer(clip_acc, steps=1).compile(program, trainset=trainset)
    assert best.template.text == BEST


def test_the_configured_adapter_is_of_no_concern_to_classification(
    program: CLIPClassifier, trainset: Examples
) -> None:
    with dspy.context(lm=None, adapter=dspy.XMLAdapter()):
        assert program(image=trainset[0].image).label in program.classnames
