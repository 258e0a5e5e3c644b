from typing import Any

import dspy
import pytest
import torch

from ipo_dspy import CLIPClassifier, CLIPPredict, clip_acc, clip_prob
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples

Metric = Any


@pytest.fixture
def program() -> CLIPClassifier:
    return CLIPClassifier(list(COLOURS), ColourEncoder(), "a crisp <CLASS>")


def prediction(label: str) -> dspy.Prediction:
    return dspy.Prediction(label=label, scores={"red": 0.7, "blue": 0.2})


def labelled(label: str) -> dspy.Example:
    return dspy.Example(label=label)


def test_accuracy_is_one_where_the_label_is_right() -> None:
    assert clip_acc(labelled("red"), prediction("red")) == 1.0
    assert clip_acc(labelled("red"), prediction("blue")) == 0.0


def test_probability_is_that_of_the_right_class(program: CLIPClassifier) -> None:
    example = colour_examples()[0]
    made = program(image=example.image)
    assert clip_prob(example, made) == pytest.approx(made.scores["red"])


def test_probability_can_be_read_from_scores_and_unlisted_classes_have_none() -> None:
    assert clip_prob(labelled("blue"), prediction("red")) == 0.2
    assert clip_prob(labelled("pink"), prediction("red")) == 0.0


def test_probability_without_scores_is_refused() -> None:
    with pytest.raises(ValueError, match="got a prediction of label"):
        clip_prob(labelled("red"), dspy.Prediction(label="red"))


class Species(dspy.Signature):
    """a crisp <CLASS>"""

    image: dspy.Image = dspy.InputField()
    species: str = dspy.OutputField()


@pytest.mark.parametrize("field", ["species", "label"])
@pytest.mark.parametrize("metric", [clip_acc, clip_prob])
def test_the_label_may_be_called_as_the_signature_calls_it(metric: Metric, field: str) -> None:
    predict = CLIPPredict(list(COLOURS), ColourEncoder(), signature=Species)
    [first, *_] = colour_examples()
    made = predict(image=first.image)
    right, wrong = (dspy.Example({field: name}) for name in ("red", "blue"))
    assert metric(right, made) > 0.5 > metric(wrong, made)
    told = metric(wrong, made, None, "predict", None)
    assert "predicted 'red', but the image shows 'blue'" in told.feedback


@pytest.mark.parametrize("metric", [clip_acc, clip_prob])
def test_tensors_give_the_scores_of_single_predictions(
    metric: Metric, program: CLIPClassifier
) -> None:
    examples = colour_examples(per_colour=2)
    images = [example.image for example in examples]
    logits = program.predict.logits(program.embedder.image_features(images), program.template)
    labels = torch.tensor([program.classnames.index(example.label) for example in examples])
    single = [metric(e, p) for e, p in zip(examples, program.predict_batch(images), strict=True)]
    assert metric.from_logits(logits, labels).tolist() == pytest.approx(single)


def test_ties_fall_on_the_same_class_in_tensors_and_predictions(program: CLIPClassifier) -> None:
    logits = torch.zeros(1, len(COLOURS))
    [tied] = program.predict.predictions(logits)
    single = [clip_acc(labelled(name), tied) for name in COLOURS]
    labels = range(len(COLOURS))
    assert single == [float(clip_acc.from_logits(logits, torch.tensor([n]))) for n in labels]


@pytest.mark.parametrize("metric", [clip_acc, clip_prob])
def test_a_score_is_a_plain_float(metric: Metric, program: CLIPClassifier) -> None:
    example = colour_examples()[0]
    assert type(metric(example, program(image=example.image))) is float


@pytest.mark.parametrize("metric", [clip_acc, clip_prob])
def test_with_a_predictors_name_feedback_comes_with_the_score(metric: Metric) -> None:
    told = metric(labelled("red"), prediction("blue"), None, "predict", None)
    assert told.score == metric(labelled("red"), prediction("blue"))
    assert "predicted 'blue', but the image shows 'red'" in told.feedback
    assert "red 0.70" in told.feedback
    assert "<CLASS> exactly once" in told.feedback


def test_a_metric_has_its_name() -> None:
    assert (clip_acc.__name__, repr(clip_prob)) == ("clip_acc", "clip_prob")
