"""Metrics for zero-shot classifiers, usable by every DSPy optimizer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

import dspy

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import Takes, checked
from ipo_dspy.images.examples import label_of
from ipo_dspy.programs.predict import ZeroShotPredict
from ipo_dspy.programs.probabilities import class_index, probabilities_of
from ipo_dspy.prompts.wording import classification_feedback

if TYPE_CHECKING:
    from torch import Tensor


Metric = Annotated[Callable[..., Any], Takes(2)]
"""Called with an example and a prediction; GEPA adds three arguments."""


@runtime_checkable
class TensorMetric(Protocol):
    """A metric that can also score logits without leaving tensors."""

    def from_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Score [N, C] logits against [N] class indices: [N] scores."""


class _ClassificationMetric(ABC):
    """A five-argument DSPy metric that also has a tensor form.

    Called without `pred_name` it returns a float from 0 to 1. With `pred_name`, as GEPA calls it,
    it returns `dspy.Prediction(score, feedback)`; the feedback says what a template is, unless
    it is for another predictor of the program.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

    @checked
    def __call__(
        self,
        example: dspy.Example,
        pred: dspy.Prediction,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> Any:
        score = self.score(example, pred)
        if pred_name is None:
            return score
        feedback = classification_feedback(
            *_labels(example, pred), pred.get("scores", {}), of_template=_of_template(pred_trace)
        )
        return dspy.Prediction(score=score, feedback=feedback)

    @abstractmethod
    def score(self, example: dspy.Example, pred: dspy.Prediction) -> float:
        """Score one prediction, 0 to 1."""

    @abstractmethod
    def from_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Score [N, C] logits against [N] class indices: [N] scores, 0 to 1."""

    def __repr__(self) -> str:
        return self.__name__


class _Accuracy(_ClassificationMetric):
    def score(self, example: dspy.Example, pred: dspy.Prediction) -> float:
        label, predicted = _labels(example, pred)
        return float(predicted == label)

    def from_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.argmax(dim=-1) == labels).float()


class _Probability(_ClassificationMetric):
    def score(self, example: dspy.Example, pred: dspy.Prediction) -> float:
        label, _ = _labels(example, pred)
        probabilities = probabilities_of(pred)
        if probabilities is not None:
            return probabilities.of(label)
        # A program may have made a prediction of its own from what it got.
        scores = pred.get("scores")
        if not isinstance(scores, dict):
            raise ArgumentError(
                "clip_prob needs the prediction of a CLIPPredict, or its scores in another one; "
                f"got a prediction of {', '.join(pred.keys()) or 'nothing'}."
            )
        return float(scores.get(label, 0.0))

    def from_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits.softmax(dim=-1).gather(-1, labels[:, None]).squeeze(-1)


def _labels(example: dspy.Example, pred: dspy.Prediction) -> tuple[Any, Any]:
    """What the image shows, and what was predicted.

    Raises:
        LabelError: what it shows is none of the classes that the prediction was made among.
    """
    probabilities = probabilities_of(pred)
    field = "label" if probabilities is None else probabilities.label_field
    label = label_of(example, field)
    if probabilities is not None and label not in probabilities.classnames:
        # Such an example could never be right, which would pass for a bad prompt.
        class_index(probabilities.classnames, label)
    return label, getattr(pred, field)


def _of_template(pred_trace: Any) -> bool:
    """Tell whether feedback is asked for a template, rather than for a predictor beside it."""
    return not pred_trace or isinstance(pred_trace[0][0], ZeroShotPredict)


clip_acc = _Accuracy("clip_acc")
"""1.0 where the predicted label is the example's, else 0.0."""

clip_prob = _Probability("clip_prob")
"""The probability given to the example's label, 0 to 1.

It needs the prediction of a `CLIPPredict`, or one that has its `scores`, where a label that is not
listed counts as 0.
"""
