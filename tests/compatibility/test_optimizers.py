"""The same CLIPClassifier, unchanged, under each of DSPy's optimizers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from ipo_dspy import CLIPClassifier, clip_acc
from ipo_dspy.images import open_image
from ipo_dspy.programs.tip_adapter import ImageVectorizer
from ipo_dspy.testing import colour_examples

Examples = list[dspy.Example]
Measure = Callable[[dspy.Module], float]
Optimize = Callable[..., dspy.Module]

DEFAULT = "a photo of a <CLASS>."
BETTER = "a crisp photo of a <CLASS>."
BEST = "a crisp flat photo of a <CLASS>."

WRITE_TEMPLATES = [
    "copro",
    "miprov2_zero_shot",
    "miprov2_few_shot",
    "miprov2_auto",
    "gepa",
    "simba",
    "infer_rules",
    "better_together",
    "ipo",
]
GIVE_DEMOS = ["labeled", "bootstrap", "random_search", "optuna"]


@pytest.mark.slow
@pytest.mark.parametrize("optimize", WRITE_TEMPLATES, indirect=True)
def test_optimizers_of_instructions_find_a_better_template(
    optimize: Optimize,
    program: CLIPClassifier,
    trainset: Examples,
    lm: dspy.LM,
    accuracy: Measure,
) -> None:
    best = optimize(program, trainset)
    assert lm.engine.requests
    assert accuracy(program) == 0.0
    assert accuracy(best) == 100.0
    assert BETTER in best.template.lines


@pytest.mark.slow
@pytest.mark.parametrize("optimize", [*GIVE_DEMOS, *WRITE_TEMPLATES], indirect=True)
def test_the_student_stays_as_it_was_and_the_encoder_is_never_copied(
    optimize: Optimize,
    program: CLIPClassifier,
    trainset: Examples,
    lm: dspy.LM,
    encoder: Any,
) -> None:
    before = program.dump_state()
    best = optimize(program, trainset)
    assert program.dump_state() == before
    assert program.predict.demos == []
    assert best is not program
    assert best.embedder is program.embedder
    assert encoder.copies == 0


@pytest.mark.slow
@pytest.mark.parametrize("optimize", [*GIVE_DEMOS, *WRITE_TEMPLATES], indirect=True)
def test_what_an_optimizer_gives_can_be_saved_and_loaded(
    optimize: Optimize,
    program: CLIPClassifier,
    trainset: Examples,
    lm: dspy.LM,
    tmp_path: Path,
) -> None:
    best = optimize(program, trainset)
    best.save(tmp_path / "program.json")
    loaded = CLIPClassifier.from_file(tmp_path / "program.json", clip=program.embedder)
    images = [example.image for example in trainset]
    assert loaded.predict_batch(images) == best.predict_batch(images)


def test_evaluate_scores_the_program_in_one_thread_and_in_many(
    program: CLIPClassifier, trainset: Examples
) -> None:
    program.predict.signature = program.predict.signature.with_instructions(BEST)
    for num_threads in (1, 4):
        evaluate = dspy.Evaluate(devset=trainset, metric=clip_acc, num_threads=num_threads)
        assert evaluate(program).score == 100.0


@pytest.mark.parametrize("optimize", GIVE_DEMOS, indirect=True)
def test_optimizers_of_demos_need_no_language_model_and_leave_the_template_alone(
    optimize: Optimize, program: CLIPClassifier, trainset: Examples
) -> None:
    assert optimize(program, trainset, None).template.text == DEFAULT


def test_bootstrapped_demos_have_image_and_label(
    program: CLIPClassifier, trainset: Examples
) -> None:
    student = CLIPClassifier(program.classnames, program.embedder, BEST)
    best = dspy.BootstrapFewShot(metric=clip_acc, max_labeled_demos=0).compile(
        student, trainset=trainset
    )
    assert len(best.predict.demos) == 4
    assert all(demo.augmented and demo.image and demo.label for demo in best.predict.demos)


def test_knn_few_shot_shows_the_pictures_that_look_most_alike(
    program: CLIPClassifier, trainset: Examples
) -> None:
    seen: list[set[str]] = []

    class Watched(CLIPClassifier):
        def forward(self, image: object) -> dspy.Prediction:
            seen.append({demo.label for demo in self.predict.demos})
            return super().forward(image)

    watched = Watched(program.classnames, program.embedder, BEST)
    knn = dspy.KNNFewShot(
        k=2, trainset=trainset, vectorizer=ImageVectorizer(program.embedder), metric=clip_acc
    )
    best = knn.compile(watched)
    green = trainset[2]
    assert best(image=green.image).label == "green"
    assert seen[-1] == {"green"}


def test_knn_few_shot_works_with_any_vectorizer_of_texts(
    program: CLIPClassifier, trainset: Examples
) -> None:
    def lengths(texts: list[str]) -> Any:
        import numpy as np

        return np.array([[float(len(text)), 1.0] for text in texts])

    knn = dspy.KNNFewShot(
        k=2, trainset=trainset, vectorizer=dspy.Embedder(lengths), metric=clip_acc
    )
    assert knn.compile(program)(image=trainset[0].image).label in program.classnames


def test_an_ensemble_of_programs_votes(program: CLIPClassifier, trainset: Examples) -> None:
    right = CLIPClassifier(program.classnames, program.embedder, BEST)
    ensemble = dspy.Ensemble(reduce_fn=dspy.majority).compile([program, right, right.deepcopy()])
    assert [ensemble(image=e.image).label for e in trainset] == [e.label for e in trainset]


def test_an_ensemble_of_programs_can_be_saved_and_loaded(
    program: CLIPClassifier, trainset: Examples, tmp_path: Path
) -> None:
    right = CLIPClassifier(program.classnames, program.embedder, BEST)
    ensemble = dspy.Ensemble(reduce_fn=dspy.majority).compile([right, right.deepcopy()])
    ensemble.save(tmp_path / "ensemble.json")
    other = dspy.Ensemble(reduce_fn=dspy.majority).compile([program, program.deepcopy()])
    other.load(tmp_path / "ensemble.json")
    assert [other(image=e.image).label for e in trainset] == [e.label for e in trainset]


def test_infer_rules_returns_the_best_of_its_candidates_not_the_last(
    program: CLIPClassifier, trainset: Examples, answering_lm: Callable[..., dspy.LM]
) -> None:
    optimizer = dspy.InferRules(metric=clip_acc, num_candidates=2, num_rules=1, num_threads=1)
    with dspy.context(lm=answering_lm(BETTER, "a murky photo of a <CLASS>.")):
        best = optimizer.compile(program, trainset=trainset, valset=trainset)
    assert BETTER in best.predict.signature.instructions


def test_gepa_keeps_its_run_and_its_best_outputs(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM, tmp_path: Path
) -> None:
    optimizer = dspy.GEPA(
        metric=clip_acc,
        reflection_lm=lm,
        max_metric_calls=60,
        num_threads=1,
        track_stats=True,
        track_best_outputs=True,
        log_dir=str(tmp_path),
    )
    best = optimizer.compile(program, trainset=trainset, valset=trainset)
    assert len(best.detailed_results.candidates) > 1
    assert best.detailed_results.best_outputs_valset
    assert list(tmp_path.iterdir())


def test_miprov2_writes_its_candidates(
    program: CLIPClassifier, trainset: Examples, lm: dspy.LM, tmp_path: Path
) -> None:
    optimizer = dspy.MIPROv2(
        metric=clip_acc,
        prompt_model=lm,
        task_model=lm,
        auto=None,
        num_candidates=2,
        num_threads=1,
        log_dir=str(tmp_path),
    )
    optimizer.compile(program, trainset=trainset, valset=trainset, num_trials=2, minibatch=False)
    assert list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("optimize", ["copro", "bootstrap", "ipo"], indirect=True)
@pytest.mark.parametrize("kind", ["path", "picture"])
def test_examples_may_hold_paths_and_pil_images(
    kind: str, optimize: Optimize, program: CLIPClassifier, tmp_path: Path
) -> None:
    examples = []
    for number, example in enumerate(colour_examples(1)):
        image: Any = open_image(example.image)
        if kind == "path":
            image.save(tmp_path / f"{number}.png")
            image = str(tmp_path / f"{number}.png")
        examples.append(dspy.Example(image=image, label=example.label).with_inputs("image"))
    best = optimize(program, examples)
    assert best(image=examples[0].image).label in program.classnames
