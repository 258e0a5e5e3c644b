"""Scores instruction texts on examples, by the fastest path that gives the same numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import dspy

from ipo_dspy.program import CLIPClassifier, CLIPPredict
from ipo_dspy.program_evaluate import CANDIDATE, KnownEvaluate, ProgramEvaluate
from ipo_dspy.records import Score
from ipo_dspy.template import Template
from ipo_dspy.zero_shot import class_index

if TYPE_CHECKING:
    from torch import Tensor

Metric = Callable[..., Any]

IMAGES_AT_ONCE = 8192
"""Images whose logits are computed together; fixed, so that scores do not depend on memory."""


@runtime_checkable
class TensorMetric(Protocol):
    """A metric that can also score logits without leaving tensors."""

    def from_logits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Score [N, C] logits against [N] class indices: [N] scores."""


class Scorer(Protocol):
    """Scores candidate texts for one predictor of a program."""

    def score(self, texts: Sequence[str]) -> list[Score]:
        """Score texts, several at once; each score depends on its text alone."""


class TensorScorer:
    """Scores templates for a plain `CLIPClassifier` with a metric that has a tensor form.

    Images are encoded once, at construction.
    """

    def __init__(
        self, predictor: CLIPPredict, examples: Sequence[dspy.Example], metric: TensorMetric
    ) -> None:
        import torch

        self._predictor = predictor
        self._metric = metric
        self._names = [example.label for example in examples]
        labels = [class_index(predictor.classnames, name) for name in self._names]
        self._labels = torch.tensor(labels)
        self._features = predictor.zero_shot.image_features([e.image for e in examples])

    def score(self, texts: Sequence[str]) -> list[Score]:
        """Score templates on the images given at construction."""
        import torch

        templates = [Template(text) for text in texts]
        with torch.inference_mode():
            zero_shot = self._predictor.zero_shot
            features = zero_shot.text_features_of(templates, self._predictor.classnames)
            return [self._score(of_template) for of_template in features]

    def _score(self, text_features: Tensor) -> Score:
        import torch

        values, losses = [], []
        for start in range(0, len(self._labels), IMAGES_AT_ONCE):
            chunk = slice(start, start + IMAGES_AT_ONCE)
            logits = self._predictor.zero_shot.logits(self._features[chunk], text_features)
            labels = self._labels[chunk]
            losses.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
            values.append(self._metric.from_logits(logits, labels))
        return _summary(self._names, torch.cat(values).tolist(), torch.cat(losses).tolist())


class ProgramScorer:
    """Scores texts by running the whole program with any DSPy metric.

    Programs with a `predict_batch` that belongs to their `forward` run in one batch. Examples that
    fail are treated as `dspy.Evaluate` treats them.
    """

    def __init__(
        self,
        program: dspy.Module,
        predictor_name: str,
        examples: Sequence[dspy.Example],
        metric: Metric,
        num_threads: int | None = None,
        max_errors: int | None = None,
        metric_key: str = CANDIDATE,
    ) -> None:
        self._program = program
        self._predictor = dict(program.named_predictors())[predictor_name]
        self._examples = list(examples)
        self._metadata = {"metric_key": metric_key}
        self._evaluate = ProgramEvaluate(
            devset=self._examples, metric=metric, num_threads=num_threads, max_errors=max_errors
        )

    def score(self, texts: Sequence[str]) -> list[Score]:
        """Score instruction texts on the examples given at construction.

        Raises:
            EvaluationError: too many examples fail with one of the texts.
        """
        return [self._score(text) for text in texts]

    def _score(self, text: str) -> Score:
        with _instructions(self._predictor, text), dspy.context(trace=None):
            results = self._evaluate(self._program, callback_metadata=self._metadata).results
        values = [value for _, _, value in results]
        losses = [_loss(*result) for result in results]
        return _summary([str(e.get("label", "")) for e in self._examples], values, losses)


class AnnouncingScorer:
    """Lets DSPy's callbacks, such as MLflow's, see what another scorer does.

    Args:
        scorer: what scores.
        program: the program whose texts are scored.
        predictor_name: the predictor that has the texts.
        examples: what the scorer scores on.
        metric: what it scores with.
        metric_key: what callbacks call the score.
    """

    def __init__(
        self,
        scorer: Scorer,
        program: dspy.Module,
        predictor_name: str,
        examples: Sequence[dspy.Example],
        metric: Metric,
        metric_key: str = CANDIDATE,
    ) -> None:
        self._scorer = scorer
        self._program = program
        self._predictor = dict(program.named_predictors())[predictor_name]
        self._examples = examples
        self._metric = metric
        self._metadata = {"metric_key": metric_key}

    def score(self, texts: Sequence[str]) -> list[Score]:
        """Score texts, one after the other where somebody listens."""
        if not dspy.settings.callbacks:
            return self._scorer.score(texts)
        return [self._announced(text) for text in texts]

    def _announced(self, text: str) -> Score:
        scores: list[Score] = []

        def work() -> float:
            scores.extend(self._scorer.score([text]))
            return scores[0].accuracy

        with _instructions(self._predictor, text):
            evaluate = KnownEvaluate(work, self._examples, self._metric)
            evaluate(self._program, callback_metadata=self._metadata)
        return scores[0]


def make_scorer(
    program: dspy.Module,
    predictor_name: str,
    examples: Sequence[dspy.Example],
    metric: Metric,
    num_threads: int | None = None,
    max_errors: int | None = None,
    metric_key: str = CANDIDATE,
) -> Scorer:
    """Choose the scorer: tensors where program and metric allow it, else the whole program."""
    predictor = dict(program.named_predictors())[predictor_name]
    if (
        isinstance(metric, TensorMetric)
        and isinstance(program, CLIPClassifier)
        and isinstance(predictor, CLIPPredict)
        and _is_plain(program, CLIPClassifier)
        and _is_plain(predictor, CLIPPredict)
        and predictor.demo_cache is None
    ):
        scorer = TensorScorer(predictor, examples, metric)
        return AnnouncingScorer(scorer, program, predictor_name, examples, metric, metric_key)
    return ProgramScorer(
        program, predictor_name, examples, metric, num_threads, max_errors, metric_key
    )


@contextmanager
def _instructions(predictor: dspy.Predict, text: str) -> Iterator[None]:
    """Give a predictor a text for a while."""
    before = predictor.signature
    predictor.signature = before.with_instructions(text)
    try:
        yield
    finally:
        predictor.signature = before


def _is_plain(module: dspy.Module, cls: type) -> bool:
    overridable = ("forward", "predict_batch", "logits", "predictions", "template_of", "__call__")
    return all(
        name not in vars(module) and getattr(type(module), name, None) is getattr(cls, name, None)
        for name in overridable
    )


def _loss(example: dspy.Example, prediction: dspy.Prediction, value: float) -> float:
    probabilities = getattr(prediction, "_probabilities", None)
    label = example.get("label")
    if probabilities is None or label not in probabilities.classnames:
        return 1.0 - value
    # The smallest positive float32 keeps the loss finite where a probability underflows to zero.
    return -math.log(max(probabilities.of(label), 2.0**-149))


def _summary(names: Sequence[str], values: Sequence[float], losses: Sequence[float]) -> Score:
    per_class: dict[str, list[float]] = defaultdict(list)
    for name, value in zip(names, values, strict=True):
        per_class[name].append(value)
    return Score(
        accuracy=100.0 * math.fsum(values) / len(values),
        loss=math.fsum(losses) / len(losses),
        n=len(values),
        per_class={name: 100.0 * math.fsum(v) / len(v) for name, v in per_class.items()},
    )
