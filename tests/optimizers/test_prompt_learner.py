"""Learned programs as users have them: evaluated, copied, saved, combined with other optimizers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
import torch
from dspy.teleprompt import BetterTogether, Ensemble, LabeledFewShot

from ipo_dspy import (
    BatchEvaluate,
    CLIPClassifier,
    CoCoOp,
    CoOp,
    CoPrompt,
    IPOOptimizer,
    MaPLe,
    PromptSRC,
    TipAdapter,
    clip_acc,
    load_encoder,
    offline_lm,
)
from ipo_dspy.errors import (
    ArgumentError,
    EncoderError,
    EvaluationError,
    LabelError,
    MetricError,
    StorageError,
)
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.optimizers.checkpoint import Epoch
from ipo_dspy.optimizers.prompt_learner import PromptLearner
from ipo_dspy.programs.probabilities import probabilities_of
from ipo_dspy.testing import ColourEncoder, check_prompt

QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 6, "lr": 0.05, "progress": False}
LEARNERS: dict[str, PromptLearner] = {
    "coop": CoOp(**QUICK),
    "coop-of-each-class": CoOp(class_specific=True, position="middle", **QUICK),
    "cocoop": CoCoOp(**QUICK),
    "maple": MaPLe(**QUICK),
    "promptsrc": PromptSRC(teacher_templates=["{}"], **QUICK),
    "coprompt": CoPrompt(**QUICK),
}


def logits(program: dspy.Module, examples: list[dspy.Example]) -> torch.Tensor:
    found: CLIPClassifier = program  # type: ignore[assignment]
    predictor = found.predict
    features = predictor.prompt().image_features(found.embedder, [e.image for e in examples])
    return predictor.logits(features, predictor.template)


@pytest.fixture(params=LEARNERS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def trained() -> dict[str, CLIPClassifier]:
    """What was trained so far; no test changes it."""
    return {}


@pytest.fixture
def best(
    kind: str,
    program: CLIPClassifier,
    examples: list[dspy.Example],
    trained: dict[str, CLIPClassifier],
) -> CLIPClassifier:
    if kind not in trained:
        trained[kind] = LEARNERS[kind].compile(program, trainset=examples)  # type: ignore[assignment]
    return trained[kind]


@pytest.mark.slow
def test_every_way_to_classify_gives_the_same(
    best: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    one_by_one = [best(image=example.image) for example in examples]
    together = best.predict_batch([example.image for example in examples])
    later = asyncio.run(best.acall(image=examples[0].image))
    assert later.label == one_by_one[0].label
    for alone, beside in zip(one_by_one, together, strict=True):
        one, other = probabilities_of(alone), probabilities_of(beside)
        assert one is not None
        assert other is not None
        assert (one.values == other.values).all()
    accuracies = {
        evaluate(devset=examples, metric=clip_acc, display_progress=False)(best).score
        for evaluate in (dspy.Evaluate, BatchEvaluate)
    }
    assert len(accuracies) == 1


@pytest.mark.slow
def test_learned_prompts_keep_the_promises(
    best: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    assert best.predict.learned is not None
    text = best.template
    if "middle" in str(best.predict.learned.dump_state()):
        pytest.skip("a class name in the middle of its vectors has no words beside it")
    images = [example.image for example in examples[::4]]
    check_prompt(best.predict.learned, best.embedder, best.classnames, images)
    assert best.template == text


def test_the_student_stays_as_it_was_and_shares_its_encoder(
    best: CLIPClassifier, program: CLIPClassifier
) -> None:
    assert program.predict.learned is None
    assert program.template.text == "a photo of a <CLASS>."
    assert best.embedder is program.embedder


def test_logits_are_those_of_the_trained_model(
    kind: str, best: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    learned = best.predict.learned
    assert learned is not None
    model = LEARNERS[kind].prompted(best)
    model.learn(learned.tensors)
    encoder = model.towers.encoder
    pixels = torch.cat([encoder.prepare_image(example.image) for example in examples])
    with torch.no_grad():
        assert torch.allclose(model.logits(pixels), logits(best, examples), atol=1e-4)


@pytest.mark.slow
def test_copies_and_files_classify_alike(
    best: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path
) -> None:
    expected = logits(best, examples)
    assert torch.equal(logits(best.deepcopy(), examples), expected)
    best.save(tmp_path / "best.json")
    saved = json.loads((tmp_path / "best.json").read_text())
    assert saved["predict"]["clip"]["learned"]["tensors"]["file"] == "best.safetensors"
    assert len((tmp_path / "best.json").read_bytes()) < 5000
    loaded = CLIPClassifier.from_file(tmp_path / "best.json", clip=best.embedder)
    assert torch.equal(logits(loaded, examples), expected)
    fresh = CLIPClassifier(best.classnames, best.embedder)
    fresh.load(tmp_path / "best.json")
    assert torch.equal(logits(fresh, examples), expected)


@pytest.mark.slow
def test_a_program_around_it_is_saved_in_one_file(
    best: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path
) -> None:
    class Around(dspy.Module):
        def __init__(self, inner: CLIPClassifier) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, image: object) -> dspy.Prediction:
            return self.inner(image=image)

    Around(best).save(tmp_path / "around.json")
    again = Around(CLIPClassifier(best.classnames, best.embedder))
    again.load(tmp_path / "around.json")
    assert torch.equal(logits(again.inner, examples), logits(best, examples))


@pytest.mark.slow
def test_novel_classes_take_what_was_learned(
    kind: str, best: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path
) -> None:
    novel = best.for_classes(["a rather odd shade of violet", "sky"])
    if kind == "coop-of-each-class":
        with pytest.raises(ArgumentError, match="class_specific"):
            novel(image=examples[0].image)
        return
    assert novel(image=examples[0].image).label in novel.classnames
    novel.save(tmp_path / "novel.json")
    loaded = CLIPClassifier.from_file(tmp_path / "novel.json", clip=best.embedder)
    assert torch.equal(logits(loaded, examples), logits(novel, examples))
    mixed = best.for_classes(["sky", "red", "green", "blue"])
    assert torch.allclose(logits(mixed, examples)[:, 1:], logits(best, examples), atol=1e-4)


def test_damaged_and_missing_tensor_files_are_named(
    program: CLIPClassifier, examples: list[dspy.Example], tmp_path: Path
) -> None:
    best = LEARNERS["coop"].compile(program, trainset=examples)
    best.save(tmp_path / "best.json")
    tensors = tmp_path / "best.safetensors"
    content = tensors.read_bytes()
    tensors.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(ArgumentError, match=r"best\.safetensors"):
        CLIPClassifier.from_file(tmp_path / "best.json", clip=program.embedder)
    tensors.unlink()
    with pytest.raises(StorageError, match=r"best\.safetensors"):
        CLIPClassifier.from_file(tmp_path / "best.json", clip=program.embedder)
    text = (tmp_path / "best.json").read_text().replace("best.safetensors", "../best.safetensors")
    (tmp_path / "best.json").write_text(text)
    with pytest.raises(ArgumentError, match="outside"):
        CLIPClassifier.from_file(tmp_path / "best.json", clip=program.embedder)


@pytest.mark.parametrize(
    "change",
    [
        {"learner": "no such learner"},
        {"n_ctx": 0},
        {"settings": {"depth": 3}},
        {"text": "no slot"},
    ],
)
def test_states_of_no_learner_are_refused(
    program: CLIPClassifier, examples: list[dspy.Example], change: dict[str, Any]
) -> None:
    best = LEARNERS["coop"].compile(program, trainset=examples)
    state = best.dump_state()
    state["predict"]["clip"]["learned"] |= change
    with pytest.raises(ArgumentError):
        CLIPClassifier(program.classnames, program.embedder).load_state(state)


def test_tensors_of_another_encoder_are_refused(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    best = LEARNERS["coop"].compile(program, trainset=examples)
    other = CLIPClassifier(program.classnames, "demo")
    assert best.predict.learned is not None
    other.predict.use_learned(best.predict.learned)
    with pytest.raises(ArgumentError, match="do not fit"):
        other(image=examples[0].image)


@pytest.mark.slow
def test_a_fresh_process_scores_the_same(tmp_path: Path) -> None:
    from ipo_dspy.demo.world import write_folder

    write_folder(
        tmp_path / "photos",
        medium="chalk",
        class_names=["cat", "boat"],
        per_class=4,
        seed=0,
        split="train",
    )
    program = CLIPClassifier.from_folder(tmp_path / "photos")
    best = MaPLe(**QUICK).compile(program)
    best.save(tmp_path / "best.json")
    images = sorted((tmp_path / "photos").rglob("*.png"))
    code = (
        "import sys, json; from ipo_dspy import CLIPClassifier; "
        "program = CLIPClassifier.from_file(sys.argv[1]); "
        "print(json.dumps([program(image=path).scores for path in sys.argv[2:]]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "best.json"), *map(str, images)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    for path, scores in zip(images, found, strict=True):
        assert best(image=path).scores == pytest.approx(scores, abs=1e-6)


def test_what_cannot_learn_says_so_before_training(examples: list[dspy.Example]) -> None:
    colours = CLIPClassifier(["red", "green", "blue"], ColourEncoder())
    for learner in LEARNERS.values():
        with pytest.raises(EncoderError, match="open_clip"):
            learner.compile(colours, trainset=examples)


@pytest.mark.parametrize("name", LEARNERS)
def test_one_class_leaves_nothing_to_learn(
    name: str, small_embedder: Embedder, examples: list[dspy.Example]
) -> None:
    red = [example for example in examples if example.label == "red"]
    with pytest.raises(ArgumentError, match="one class name"):
        LEARNERS[name].compile(CLIPClassifier(["red"], small_embedder), trainset=red)


@pytest.mark.parametrize(
    ("metric", "spoilt", "error"),
    [
        (clip_acc, {"label": "zebra"}, LabelError),
        (clip_acc, {"image": None}, ArgumentError),
        (clip_acc, {"image": "nowhere.png"}, EvaluationError),
        (lambda example, prediction: "good", {}, MetricError),
    ],
)
def test_what_the_learned_program_is_scored_on_is_tried_before_training(
    program: CLIPClassifier,
    examples: list[dspy.Example],
    metric: Any,
    spoilt: dict[str, Any],
    error: type[Exception],
) -> None:
    epochs: list[Epoch] = []
    valset = [examples[0].copy(**spoilt)]
    with pytest.raises(error):
        CoOp(metric, **QUICK, on_epoch=epochs.append).compile(
            program, trainset=examples, valset=valset
        )
    assert not epochs


def test_programs_without_or_with_two_predictors_are_refused(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    class Two(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = program.deepcopy(), program.deepcopy()

    for wrong in (Two(), dspy.Predict("question -> answer")):
        with pytest.raises(ArgumentError, match="CLIPPredict"):
            CoOp(**QUICK).compile(wrong, trainset=examples)


def test_validation_images_give_the_score(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    best = CoOp(clip_acc, **QUICK).compile(program, trainset=examples[:6], valset=examples[6:])
    again = BatchEvaluate(devset=examples[6:], metric=clip_acc)(best).score
    assert best.score == again
    results = best.detailed_results
    assert results.parameters == 4 * 32
    assert [epoch.epoch for epoch in results.epochs] == list(best.trial_logs) == [1, 2]


@pytest.mark.slow
def test_ipo_searches_the_words_beside_learned_vectors(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    learned = LEARNERS["coop"].compile(program, trainset=examples)
    with dspy.context(lm=offline_lm()):
        found = IPOOptimizer(steps=2, prompts_per_step=3).compile(learned, trainset=examples)
    first = next(trial for trial in found.detailed_results.trials if trial.step == 0)
    assert first.text == "<CLASS>."
    assert first.score is not None
    score = BatchEvaluate(devset=examples, metric=clip_acc)(learned).score
    assert first.score.accuracy == pytest.approx(score, abs=0.01)
    assert found.predict.learned is not None  # type: ignore[attr-defined]
    assert sum(trial.score is not None for trial in found.detailed_results.trials) > 1


def test_a_learner_goes_on_from_what_a_search_found(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    steps = BetterTogether(
        metric=clip_acc,
        words=IPOOptimizer(prompt_model=offline_lm(), steps=1, prompts_per_step=3),
        vectors=CoOp(init="program", n_ctx=2, **QUICK),
    )
    program.set_lm(offline_lm())
    best = steps.compile(program, trainset=examples, valset=examples, strategy="words -> vectors")
    assert not best.flag_compilation_error_occurred
    assert {each["strategy"] for each in best.candidate_programs} >= {"words -> vectors"}


def test_learned_programs_vote_in_an_ensemble(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    members = [LEARNERS[name].compile(program, trainset=examples) for name in ("coop", "maple")]
    both = Ensemble(reduce_fn=dspy.majority).compile([*members, program])
    assert both(image=examples[0].image).label in program.classnames


@pytest.mark.parametrize("name", ["coop", "maple"])
def test_demos_count_beside_learned_vectors(
    program: CLIPClassifier, examples: list[dspy.Example], name: str
) -> None:
    cached = CLIPClassifier(
        program.classnames, program.embedder, demo_cache=TipAdapter(weight=1000.0)
    )
    best = LEARNERS[name].compile(cached, trainset=examples)
    with_demos = LabeledFewShot(k=len(examples)).compile(best, trainset=examples)
    right = [with_demos(image=example.image).label == example.label for example in examples]
    assert all(right)


@pytest.mark.slow
def test_nearest_words_are_those_the_vectors_began_as(
    program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    best = CoOp(epochs=1, progress=False).compile(program, trainset=examples)
    found = best.nearest_words()
    assert [each.words[0] for each in found.vectors] == ["a", "photo", "of", "a"]
    assert all(each.is_near for each in found.vectors)
    far = CoOp(n_ctx=3, init=None, epochs=1, progress=False, lr=1.0)
    moved = far.compile(program, trainset=examples)
    learned = moved.predict.learned
    assert learned is not None
    learned.tensors["vectors"].add_(5.0)  # type: ignore[union-attr]
    assert str(moved.nearest_words()).count("no word is near") == 3
    with pytest.raises(ArgumentError, match="a photo of a"):
        program.nearest_words()


def test_published_arguments_are_those_of_the_dataset() -> None:
    food = CoPrompt.for_dataset("food101")
    assert (food.weight, food.n_ctx, food.depth, food.training.epochs) == (0.5, 4, 9, 5)
    assert CoPrompt.for_dataset("demo").weight == 1
    assert CoPrompt.for_dataset("dtd", weight=2.0).weight == 2
    assert CoOp.for_dataset("imagenet").training.epochs == 50


def test_each_learner_rebuilds_an_authors_checkpoint_as_a_program(
    kind: str, program: CLIPClassifier, examples: list[dspy.Example]
) -> None:
    learner = LEARNERS[kind]
    prompted = learner.prompted(program)
    learned = prompted.learned()
    state = {theirs: learned[own] for own, theirs in prompted.official_names().items()}
    best: CLIPClassifier = learner.load_official(program, state)  # type: ignore[assignment]
    encoder = prompted.towers.encoder
    pixels = torch.cat([encoder.prepare_image(example.image) for example in examples])
    with torch.no_grad():
        assert torch.allclose(prompted.logits(pixels), logits(best, examples), atol=1e-4)


def test_misspelt_arguments_are_named() -> None:
    with pytest.raises(ArgumentError, match="epochs"):
        MaPLe(epoch=3)  # type: ignore[call-arg]


def test_the_encoder_named_demo_can_be_learned_with() -> None:
    assert CoOp().prompted(CLIPClassifier(["cat"], load_encoder("demo"))).classnames == ("cat",)


@pytest.mark.parametrize("seed", [np.int64(3), 2**70, -5])
def test_a_seed_may_be_a_whole_number_of_any_size_and_library(
    program: CLIPClassifier, examples: list[dspy.Example], seed: int
) -> None:
    CoOp(epochs=1, seed=seed).compile(program, trainset=examples)
