import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ipo_dspy import (
    CLIPClassifier,
    CLIPPredict,
    clip_acc,
    clip_prob,
    load_encoder,
)
from ipo_dspy.errors import EncoderError, EvaluationError, InvalidTemplateError
from ipo_dspy.features import embedder
from ipo_dspy.images import labeled_image
from ipo_dspy.scoring import scorers
from ipo_dspy.scoring.scorers import AnnouncingScorer, ProgramScorer, TensorScorer, make_scorer
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples

NAMES = list(COLOURS)
TEMPLATES = ["<CLASS>", "crisp <CLASS>", "a flat <CLASS>", "a crisp flat <CLASS>"]


class Slow(CLIPClassifier):
    """Has a forward of its own, so that it is called for every example."""

    def forward(self, image: object) -> dspy.Prediction:
        return super().forward(image)


class PlainMetric:
    """A metric without a tensor form."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric

    def __call__(self, example: dspy.Example, prediction: dspy.Prediction) -> Any:
        return self._metric(example, prediction)


PATHS = (
    (CLIPClassifier, clip_acc),
    (CLIPClassifier, PlainMetric(clip_acc)),
    (Slow, PlainMetric(clip_acc)),
)
"""A program and a metric for each way of scoring: by tensors, by batches, by single examples."""


class TableEncoder:
    """Gives the features it was told to, for numbered pictures and texts of two numbers.

    The entries of a feature are 0, 0.5 or -0.5, four of them not 0. So features have unit length,
    products are exact in any order, and several classes are often equally near.
    """

    spec = "table"
    context_length = 100

    def __init__(self, images: np.ndarray[Any, Any], texts: np.ndarray[Any, Any]) -> None:
        self._images = torch.tensor(images, dtype=torch.float32)
        self._texts = torch.tensor(texts, dtype=torch.float32)

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        return self._images[[image.getpixel((0, 0))[0] for image in images]]

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        template, number = np.array([text.split() for text in texts], dtype=int).T
        return self._texts[template, number]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def logits(self, image_features: torch.Tensor, text_features: torch.Tensor) -> torch.Tensor:
        return 8.0 * image_features @ text_features.T


def table(random: np.random.Generator, *shape: int) -> np.ndarray[Any, Any]:
    features = np.zeros((*shape, 7))
    for row in features.reshape(-1, 7):
        row[random.choice(7, size=4, replace=False)] = random.choice([-0.5, 0.5], size=4)
    return features


def make(kind: type[CLIPClassifier], metric: Any, examples: list[dspy.Example]) -> Any:
    return make_scorer(kind(NAMES, ColourEncoder()), "predict", examples, metric)


@pytest.mark.slow
@pytest.mark.parametrize("metric", [clip_acc, clip_prob])
def test_the_three_paths_give_the_same(metric: Any) -> None:
    examples = colour_examples(3)
    by_tensors = make(CLIPClassifier, metric, examples)
    by_batch = make(CLIPClassifier, PlainMetric(metric), examples)
    by_example = make(Slow, PlainMetric(metric), examples)
    assert isinstance(by_tensors, AnnouncingScorer)
    assert isinstance(by_batch, ProgramScorer)
    assert isinstance(by_example, ProgramScorer)
    expected = by_tensors.score(TEMPLATES)
    assert len({score.accuracy for score in expected}) > 1
    for other in (by_batch, by_example):
        for ours, theirs in zip(expected, other.score(TEMPLATES), strict=True):
            assert theirs.accuracy == pytest.approx(ours.accuracy, rel=1e-6)
            assert theirs.loss == pytest.approx(ours.loss, rel=1e-5)
            assert theirs.n == ours.n == 18
            assert theirs.per_class == pytest.approx(ours.per_class, rel=1e-6)


class Species(dspy.Signature):
    """a <CLASS>"""

    image: dspy.Image = dspy.InputField()
    species: str = dspy.OutputField()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "metric"), PATHS)
def test_a_label_of_another_name_gives_the_same_scores(
    kind: type[CLIPClassifier], metric: Any
) -> None:
    named = [dspy.Example(image=e.image, species=e.label) for e in colour_examples(3)]
    program = kind(NAMES, ColourEncoder())
    program.predict = CLIPPredict(NAMES, program.embedder, signature=Species)
    scored = make_scorer(program, "predict", [e.with_inputs("image") for e in named], metric).score(
        TEMPLATES
    )
    expected = make(kind, metric, colour_examples(3)).score(TEMPLATES)
    assert scored == expected


@settings(max_examples=25)
@given(
    images=st.integers(1, 40),
    classes=st.integers(2, 12),
    templates=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
)
@pytest.mark.slow
def test_the_three_paths_give_the_same_for_any_features_ties_included(
    images: int, classes: int, templates: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    encoder = TableEncoder(table(random, images), table(random, templates, classes))
    names = [str(number) for number in range(classes)]
    texts = [f"{number} <CLASS>" for number in range(templates)]
    pictures = [PIL.Image.new("RGB", (2, 2), (number,) * 3) for number in range(images)]
    examples = [labeled_image(dspy.Image(p), random.choice(names)) for p in pictures]
    scores = []
    for kind, metric in PATHS:
        program = kind(names, encoder)
        scores.append(make_scorer(program, "predict", examples, metric).score(texts))
    for by_tensors, by_batch, by_example in zip(*scores, strict=True):
        assert by_tensors.accuracy == by_batch.accuracy == by_example.accuracy
        assert by_tensors.per_class == by_batch.per_class == by_example.per_class
        assert by_batch.loss == pytest.approx(by_tensors.loss, rel=1e-5, abs=1e-6)
        assert by_example.loss == pytest.approx(by_tensors.loss, rel=1e-5, abs=1e-6)


def test_ties_go_to_the_first_class_on_every_path() -> None:
    encoder = TableEncoder(np.full((20, 4), 0.5), np.full((1, 9, 4), 0.5))
    names = [str(number) for number in range(9)]
    pictures = [PIL.Image.new("RGB", (2, 2), (number,) * 3) for number in range(18)]
    examples = [
        labeled_image(dspy.Image(picture), names[number % 9])
        for number, picture in enumerate(pictures)
    ]
    for kind, metric in PATHS:
        scored = make_scorer(kind(names, encoder), "predict", examples, metric)
        [score] = scored.score(["0 <CLASS>"])
        assert score.per_class == {name: 100.0 * (name == "0") for name in names}
        assert score.loss == pytest.approx(math.log(9))


def test_candidates_that_are_scored_together_do_not_change_each_other() -> None:
    examples = colour_examples(3)
    together = make(CLIPClassifier, clip_acc, examples).score(TEMPLATES)
    alone = [make(CLIPClassifier, clip_acc, examples).score([text])[0] for text in TEMPLATES]
    assert together == alone


def test_scores_do_not_depend_on_how_the_work_is_divided(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = colour_examples(8)
    whole = make(CLIPClassifier, clip_acc, examples).score(TEMPLATES)
    monkeypatch.setattr(embedder, "IMAGES_AT_ONCE", 20)
    monkeypatch.setattr(scorers, "TEXTS_AT_ONCE", 2 * len(NAMES))
    divided = make(CLIPClassifier, clip_acc, examples).score(TEMPLATES)
    assert [score.accuracy for score in divided] == [score.accuracy for score in whole]
    assert [score.loss for score in divided] == pytest.approx([score.loss for score in whole])


@pytest.mark.slow
def test_a_prediction_before_scoring_does_not_change_the_scores(tmp_path: Path) -> None:
    examples = colour_examples(20)

    def scored(*, first: bool, cache: str) -> Any:
        kept = embedder.Embedder(load_encoder("demo"), cache=str(tmp_path / cache))
        program = CLIPClassifier(NAMES, kept)
        if first:
            program(image=examples[0].image)
        return TensorScorer(program.predict, examples, clip_acc).score(TEMPLATES)

    assert scored(first=True, cache="a") == scored(first=False, cache="b")
    assert scored(first=True, cache="b") == scored(first=False, cache="a")


def test_texts_are_in_memory_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    class Together(ColourEncoder):
        def encode_templates(self, groups: Sequence[Sequence[str]]) -> torch.Tensor:
            asked.append(len(groups))
            return torch.stack([self.encode_texts(group) for group in groups])

    program = CLIPClassifier(NAMES, Together())
    tensors = TensorScorer(program.predict, colour_examples(), clip_acc)
    monkeypatch.setattr(scorers, "TEXTS_AT_ONCE", 2 * len(NAMES))
    tensors.score([f"{number} <CLASS>" for number in range(5)])
    assert asked == [2, 2, 1]


def test_images_beyond_memory_give_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Cacheable(ColourEncoder):
        image_fingerprint = "colours"

    examples = colour_examples(8)
    program = CLIPClassifier(NAMES, Cacheable())
    whole = TensorScorer(program.predict, examples, clip_acc).score(TEMPLATES)
    monkeypatch.setattr(embedder, "IMAGE_MEMORY", 10)
    monkeypatch.setattr(embedder, "IMAGES_AT_ONCE", 20)
    mapped = CLIPClassifier(NAMES, embedder.Embedder(Cacheable(), tmp_path / "cache"))
    found = TensorScorer(mapped.predict, examples, clip_acc).score(TEMPLATES)
    assert [score.accuracy for score in found] == [score.accuracy for score in whole]
    assert list((tmp_path / "cache").rglob("*.safetensors"))


def test_no_texts_give_no_scores() -> None:
    assert make(CLIPClassifier, clip_acc, colour_examples()).score([]) == []


def test_no_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one labelled image"):
        make(CLIPClassifier, clip_acc, [])
    with pytest.raises(ValueError, match="at least one example"):
        make(Slow, clip_acc, []).score(["<CLASS>"])


def test_a_label_that_is_no_class_is_an_error() -> None:
    [example, *_] = colour_examples()
    with pytest.raises(ValueError, match="'mauve' is none of the 6 class names"):
        make(CLIPClassifier, clip_acc, [dspy.Example(example, label="mauve")])


def test_what_is_no_template_is_an_error() -> None:
    with pytest.raises(InvalidTemplateError):
        make(CLIPClassifier, clip_acc, colour_examples()).score(["<CLASS>", "no slot"])


def test_logits_that_are_no_numbers_are_an_error_with_the_template() -> None:
    class Broken(ColourEncoder):
        def logits(self, images: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
            return super().logits(images, texts) * torch.nan

    program = CLIPClassifier(NAMES, Broken())
    with pytest.raises(EncoderError, match="'flat <CLASS>' is not a number"):
        TensorScorer(program.predict, colour_examples(), clip_acc).score(["flat <CLASS>"])


@pytest.mark.parametrize("kind", [CLIPClassifier, Slow])
def test_that_all_examples_fail_is_never_a_score(kind: type[CLIPClassifier]) -> None:
    def fail(example: dspy.Example, prediction: dspy.Prediction) -> float:
        raise ValueError("no")

    with pytest.raises(EvaluationError, match="2 of 2 examples failed, the first with Value"):
        make(kind, fail, colour_examples()[:2]).score(["<CLASS>"])


def test_the_program_has_its_own_text_again_after_scoring() -> None:
    program = Slow(NAMES, ColourEncoder(), "crisp <CLASS>")
    scorer = make_scorer(program, "predict", colour_examples(), clip_acc)
    scorer.score(["<CLASS>"])
    assert program.template.text == "crisp <CLASS>"


def test_an_example_that_fails_never_lowers_the_loss() -> None:
    examples = colour_examples()

    class Picky(CLIPClassifier):
        fails_on: str = ""

        def forward(self, image: object) -> dspy.Prediction:
            prediction = super().forward(image)
            if prediction.label == self.fails_on:
                raise RuntimeError("not this one")
            return prediction

    def loss(fails_on: str) -> float:
        program = Picky(list(COLOURS), ColourEncoder())
        program.fails_on = fails_on
        [score] = ProgramScorer(program, "predict", examples, clip_acc).score(["a <CLASS>."])
        return float(score.loss)

    whole = loss("")
    seen = {CLIPClassifier(list(COLOURS), ColourEncoder())(image=e.image).label for e in examples}
    assert all(loss(label) > whole for label in seen)
