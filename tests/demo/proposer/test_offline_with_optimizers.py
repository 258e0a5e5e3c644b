"""DSPy's own optimizers with the offline proposer, on a program whose good words are known."""

from collections.abc import Sequence
from typing import Any

import dspy
import pytest

from ipo_dspy.demo.proposer.offline import offline_lm
from ipo_dspy.prompts.drafts import content_words

GOOD = frozenset({"chalk", "drawing", "blackboard", "white", "sketch"})


class Classify(dspy.Signature):
    """a photo of a <CLASS>."""

    image: str = dspy.InputField()
    label: str = dspy.OutputField(desc="the class whose name fits the template <CLASS> best")


class FakePredict(dspy.Predict):
    """Gives a label without any model; what it is worth depends on the words of its template."""

    def forward(self, **inputs: Any) -> dspy.Prediction:
        image = inputs["image"]
        worth = len(GOOD & set(content_words(self.signature.instructions)))
        right = sum(map(ord, image)) % 5 < worth + 1
        prediction = dspy.Prediction(label=image if right else "wrong")
        if dspy.settings.trace is not None:
            dspy.settings.trace.append((self, {"image": image}, prediction))
        return prediction


class FakeProgram(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.classify = FakePredict(Classify)

    def forward(self, image: str) -> dspy.Prediction:
        return self.classify(image=image)


def right(
    example: dspy.Example,
    prediction: dspy.Prediction,
    trace: object = None,
    pred_name: str | None = None,
    pred_trace: object = None,
) -> Any:
    score = float(example.label == prediction.label)
    if pred_name is None:
        return score
    return dspy.Prediction(score=score, feedback="A template must keep <CLASS>.")


def graded(example: dspy.Example, prediction: dspy.Prediction) -> float:
    """SIMBA learns from examples whose scores are neither the lowest nor the highest."""
    return sum(map(ord, example.image)) % 7 / 6


@pytest.fixture
def program() -> FakeProgram:
    return FakeProgram()


@pytest.fixture
def trainset() -> Sequence[dspy.Example]:
    names = [f"image {number}" for number in range(40)]
    return [dspy.Example(image=name, label=name).with_inputs("image") for name in names]


def test_copro_finds_a_better_template(
    program: FakeProgram, trainset: Sequence[dspy.Example]
) -> None:
    copro = dspy.COPRO(prompt_model=offline_lm(), metric=right, breadth=6, depth=3)
    evaluation = {"num_threads": 1, "display_progress": False}
    best = copro.compile(program, trainset=trainset, eval_kwargs=evaluation)
    tried = {row["instruction"] for row in best.candidate_programs}
    assert len(tried) > 6
    assert all("<CLASS>" in text for text in tried)


def test_miprov2_gets_templates(program: FakeProgram, trainset: Sequence[dspy.Example]) -> None:
    lm = offline_lm()
    miprov2 = dspy.MIPROv2(
        metric=right, prompt_model=lm, task_model=lm, auto=None, num_candidates=5, num_threads=1
    )
    best = miprov2.compile(
        program,
        trainset=trainset,
        num_trials=5,
        max_bootstrapped_demos=0,
        max_labeled_demos=0,
        minibatch=False,
    )
    texts = {row["program"].classify.signature.instructions for row in best.candidate_programs}
    assert len(texts) > 1
    assert all("<CLASS>" in text for text in texts)


def test_gepa_gets_templates(program: FakeProgram, trainset: Sequence[dspy.Example]) -> None:
    gepa = dspy.GEPA(
        metric=right,
        reflection_lm=offline_lm(),
        max_metric_calls=300,
        num_threads=1,
        track_stats=True,
    )
    best = gepa.compile(program, trainset=trainset, valset=trainset)
    texts = [c.classify.signature.instructions for c in best.detailed_results.candidates]
    assert len(texts) > 1
    assert all(text.count("<CLASS>") == 1 for text in texts)


def test_simba_gets_advice_with_a_slot(
    program: FakeProgram, trainset: Sequence[dspy.Example]
) -> None:
    lm = offline_lm()
    simba = dspy.SIMBA(
        metric=graded, prompt_model=lm, bsize=8, num_candidates=3, max_steps=2, max_demos=0
    )
    with dspy.context(lm=lm):
        best = simba.compile(program, trainset=trainset, seed=0)
    texts = [c["program"].classify.signature.instructions for c in best.candidate_programs]
    advised = [text for text in texts if "\n\n" in text]
    assert advised
    assert all(text.split("\n\n")[1].count("<CLASS>") == 1 for text in advised)


def test_infer_rules_gets_rules(program: FakeProgram, trainset: Sequence[dspy.Example]) -> None:
    infer = dspy.InferRules(metric=right, num_candidates=2, num_rules=3, num_threads=1)
    with dspy.context(lm=offline_lm()):
        best = infer.compile(program, trainset=trainset[:20], valset=trainset[20:])
    assert best.classify.signature.instructions.startswith("a photo of a <CLASS>.\n\n")
