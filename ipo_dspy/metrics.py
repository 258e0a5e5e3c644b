"""Metrics for zero-shot classifiers, usable by every DSPy optimizer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dspy

from ipo_dspy.signatures import classification_feedback

if TYPE_CHECKING:
    from torch import Tensor


class _ClassificationMetric:
    """A five-argument DSPy metric that also has a tensor form.

    Called without `pred_name` it returns a float from 0 to 1. With `pred_name`, as GEPA calls it,
    it returns `dspy.Prediction(score, feedback)`.
    """

    def __init__(self, name: str) -> None:
        self.__name__ = name

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
        return dspy.Prediction(score=score, feedback=classification_feedback(example, pred))

    def score(self, example: dspy.Example, pred: dspy.Prediction) -> float:
        """Score one prediction, 0 to 1."""
        raise NotImplementedError

    def from_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Score [N, C] logits against [N] class indices: [N] scores, 0 to 1."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.__name__


class _Accuracy(_ClassificationMetric):
    def score(self, example: dspy.Example, pred: dspy.Prediction) -> float:
        return float(pred.label == example.label)

    def from_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.argmax(dim=-1) == labels).float()


class _Probability(_ClassificationMetric):
    def score(self, example: dspy.Example, pred: dspy.Prediction) -> float:
        return pred._probabilities.of(example.label)

    def from_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        return logits.softmax(dim=-1).gather(-1, labels[:, None]).squeeze(-1)


clip_acc = _Accuracy("clip_acc")
"""1.0 where the predicted label is the example's, else 0.0."""

clip_prob = _Probability("clip_prob")
"""The probability given to the example's label, 0 to 1; needs predictions of a `CLIPPredict`."""
