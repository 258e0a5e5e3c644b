"""Programs that others write around CLIPClassifier and CLIPPredict."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from ipo_dspy import CLIPClassifier, CLIPPredict, IPOOptimizer, clip_acc
from ipo_dspy.testing import COLOURS

Examples = list[dspy.Example]
Optimize = Callable[..., dspy.Module]

BETTER = "a crisp photo of a <CLASS>."
NAMES = list(COLOURS)
ALL = ["bootstrap", "copro", "miprov2_zero_shot", "gepa", "simba", "infer_rules", "ipo"]
WRITE_TEMPLATES = ALL[1:]


class Overridden(CLIPClassifier):
    """A subclass with a forward of its own, and no batched one."""

    def forward(self, image: object) -> dspy.Prediction:
        prediction = super().forward(image)
        return dspy.Prediction(**prediction.toDict(), checked=True)


class OwnPredictor(CLIPPredict):
    """A predictor with a forward of its own."""

    def forward(self, **kwargs: Any) -> dspy.Prediction:
        return super().forward(**kwargs)


class OwnModule(dspy.Module):
    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.clip = OwnPredictor(NAMES, encoder)

    def forward(self, image: object) -> dspy.Prediction:
        return self.clip(image=image)


class Species(dspy.Signature):
    """a photo of a <CLASS>."""

    season: str = dspy.InputField()
    photo: dspy.Image = dspy.InputField()
    species: str = dspy.OutputField(desc="keeps <CLASS>")


class OtherNames(dspy.Module):
    """Other names for the image and the label, and an input beside the image."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.clip = CLIPPredict(NAMES, encoder, signature=Species)

    def forward(self, photo: object, season: str) -> dspy.Prediction:
        return self.clip(photo=photo, season=season)


class Beside(dspy.Module):
    """A classifier with a language-model predictor beside it."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.classifier = CLIPClassifier(NAMES, encoder)
        self.explain = dspy.Predict("label: str -> explanation: str")

    def forward(self, image: object) -> dspy.Prediction:
        found = self.classifier(image=image)
        explanation = self.explain(label=found.label).explanation
        return dspy.Prediction(explanation=explanation, label=found.label)


class Experts(dspy.Module):
    """Two predictors in a list; the first is used for all but the last colours."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.experts = [CLIPPredict(NAMES, encoder), CLIPPredict(NAMES, encoder)]

    def forward(self, image: object) -> dspy.Prediction:
        first, second = (expert(image=image) for expert in self.experts)
        return second if second.label in {"white", "black"} else first


def right(
    example: dspy.Example,
    pred: dspy.Prediction,
    trace: Any = None,
    pred_name: str | None = None,
    pred_trace: Any = None,
) -> float:
    """A metric of a user, with other names."""
    return float(example.species == pred.species)


def templates(program: dspy.Module) -> list[str]:
    clip = [p for p in program.predictors() if isinstance(p, CLIPPredict)]
    return [line for predictor in clip for line in predictor.effective_templates]


@pytest.mark.slow
@pytest.mark.parametrize("optimize", WRITE_TEMPLATES, indirect=True)
@pytest.mark.parametrize("make", [Overridden, OwnModule])
def test_subclasses_and_own_modules_find_a_better_template(
    make: Callable[..., dspy.Module], optimize: Optimize, trainset: Examples, encoder: Any
) -> None:
    student = make(NAMES, encoder) if make is Overridden else make(encoder)
    best = optimize(student, trainset)
    assert BETTER in templates(best)
    assert BETTER not in templates(student)
    assert encoder.copies == 0


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ALL, indirect=True)
def test_a_predictor_is_a_program_too(optimize: Optimize, trainset: Examples, encoder: Any) -> None:
    best = optimize(CLIPPredict(NAMES, encoder), trainset)
    assert best(image=trainset[0].image).label in NAMES
    assert encoder.copies == 0


def test_ipo_searches_a_template_for_a_bare_predictor(
    trainset: Examples, encoder: Any, lm: dspy.LM
) -> None:
    optimizer = IPOOptimizer(clip_acc, prompt_model=lm, steps=1)
    best = optimizer.compile(CLIPPredict(NAMES, encoder), trainset=trainset)
    assert best.template.text == BETTER


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ALL, indirect=True)
def test_language_model_predictors_beside_a_classifier_are_no_hindrance(
    optimize: Optimize, trainset: Examples, encoder: Any
) -> None:
    student = Beside(encoder)
    best = optimize(student, trainset)
    assert len(templates(best)) >= 1
    assert student.explain.signature.instructions.startswith("Given the fields")
    assert encoder.copies == 0


def test_ipo_writes_the_template_and_leaves_the_other_predictor_alone(
    trainset: Examples, encoder: Any, lm: dspy.LM
) -> None:
    student = Beside(encoder)
    with dspy.context(lm=lm):
        best = IPOOptimizer(clip_acc, steps=1).compile(student, trainset=trainset)
    assert templates(best) == [BETTER]
    assert best.explain.signature.equals(student.explain.signature)


def test_gepa_is_told_about_templates_only_where_there_is_one(
    trainset: Examples, encoder: Any
) -> None:
    student = Beside(encoder)
    example, prediction = trainset[0], dspy.Prediction(label="red")
    of_template = clip_acc(
        example, prediction, None, "classifier.predict", [(student.classifier.predict, {}, None)]
    )
    of_other = clip_acc(example, prediction, None, "explain", [(student.explain, {}, None)])
    assert "<CLASS>" in of_template.feedback
    assert of_other.feedback == "Right: 'red'."


@pytest.mark.slow
def test_the_fields_may_have_other_names(
    trainset: Examples, encoder: Any, lm: dspy.LM, tmp_path: Path
) -> None:
    examples = [
        dspy.Example(photo=e.image, season="spring", species=e.label).with_inputs("photo", "season")
        for e in trainset
    ]
    student = OtherNames(encoder)
    with dspy.context(lm=lm):
        ipo = IPOOptimizer(right, steps=1, run_dir=tmp_path).compile(student, trainset=examples)
        copro = dspy.COPRO(metric=right, breadth=4, depth=1).compile(
            student, trainset=examples, eval_kwargs={"num_threads": 1}
        )
    bootstrap = dspy.BootstrapFewShot(metric=right, max_labeled_demos=0).compile(
        ipo, trainset=examples
    )
    assert templates(ipo) == templates(copro) == [BETTER]
    assert ipo(photo=examples[0].photo, season="").species == "red"
    assert {demo.season for demo in bootstrap.clip.demos} == {"spring"}
    assert "Words that fit the " in lm.engine.requests[0]


def test_examples_with_other_images_are_another_search(
    trainset: Examples, encoder: Any, lm: dspy.LM, tmp_path: Path
) -> None:
    from ipo_dspy.runs.journal import JournalError

    student = OtherNames(encoder)
    examples = [
        dspy.Example(photo=e.image, season="", species="red").with_inputs("photo", "season")
        for e in trainset
    ]
    optimizer = IPOOptimizer(right, prompt_model=lm, steps=1, run_dir=tmp_path)
    optimizer.compile(student, trainset=examples[:2])
    with pytest.raises(JournalError, match="training"):
        optimizer.compile(student, trainset=examples[2:4])


def test_a_signature_without_types_may_call_its_one_input_as_it_likes(encoder: Any) -> None:
    predictor = CLIPPredict(NAMES, encoder, BETTER, signature="picture -> colour")
    prediction = predictor(picture=dspy.Image(_picture("green")))
    assert prediction.colour == "green"


def test_a_signature_must_tell_which_input_is_the_image(encoder: Any) -> None:
    with pytest.raises(ValueError, match="Annotate one"):
        CLIPPredict(NAMES, encoder, signature="left, right -> colour")


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ALL, indirect=True)
def test_several_predictors_are_all_searched(
    optimize: Optimize, trainset: Examples, encoder: Any
) -> None:
    best = optimize(Experts(encoder), trainset)
    assert best(image=trainset[0].image).label in NAMES
    assert encoder.copies == 0


@pytest.mark.slow
def test_candidate_programs_score_what_they_claim(
    trainset: Examples, encoder: Any, answering_lm: Callable[..., dspy.LM]
) -> None:
    lm = answering_lm(BETTER, "a flat photo of a <CLASS>.", "a dim photo of a <CLASS>.")
    optimizer = IPOOptimizer(clip_acc, prompt_model=lm, steps=4, prompts_per_step=2)
    best = optimizer.compile(Experts(encoder), trainset=trainset)
    evaluate = dspy.Evaluate(devset=trainset, metric=clip_acc, num_threads=1)
    claimed = [candidate["score"] for candidate in best.candidate_programs]
    found = [evaluate(candidate["program"]).score for candidate in best.candidate_programs]
    assert found == pytest.approx(claimed, abs=0.01)
    assert len(set(claimed)) > 1


async def _label(program: dspy.Module, image: object) -> str:
    return str((await program.acall(image=image)).label)


def test_programs_can_be_awaited(trainset: Examples, encoder: Any) -> None:
    import asyncio

    program = CLIPClassifier(NAMES, encoder, BETTER)
    assert asyncio.run(_label(program, trainset[0].image)) == "red"
    assert asyncio.run(_label(OwnPredictor(NAMES, encoder, BETTER), trainset[0].image)) == "red"


def _picture(colour: str) -> Any:
    import PIL.Image

    return PIL.Image.new("RGB", (4, 4), COLOURS[colour])
