"""Scores instruction texts on examples, by the fastest path that gives the same numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import dspy

from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.features.embedder import image_chunks
from ipo_dspy.images.examples import label_of, required_image
from ipo_dspy.programs.classifier import CLIPClassifier, CLIPPredict
from ipo_dspy.programs.metrics import Metric, TensorMetric
from ipo_dspy.programs.predict import label_field
from ipo_dspy.programs.probabilities import class_index, class_indices, probabilities_of
from ipo_dspy.programs.prompt import TextPrompt
from ipo_dspy.prompts.template import Template
from ipo_dspy.records import SCALES, Score
from ipo_dspy.scoring.evaluate import CANDIDATE, BatchEvaluate, KnownEvaluate, number_of
from ipo_dspy.scoring.ranking import RAW

if TYPE_CHECKING:
    from torch import Tensor

TEXTS_AT_ONCE = 65_536
"""Texts whose features are in memory together."""
_LEAST_PROBABILITY = 2.0**-149
"""The smallest positive float32 keeps the loss finite where a probability underflows to zero."""
_HIGHEST_LOSS = -math.log(_LEAST_PROBABILITY)
CHUNKS_TOGETHER = 64
"""Ranges of images whose sums are in memory together."""


class Scorer(Protocol):
    """Scores candidate texts for one predictor of a program."""

    @property
    def at_once(self) -> bool:
        """Whether several texts are scored faster together than one after the other."""

    def score(self, texts: Sequence[str]) -> list[Score]:
        """Score texts, several at once; each score depends on its text alone."""


class TensorScorer:
    """Scores templates for a plain `CLIPClassifier` with a metric that has a tensor form.

    Images are encoded once, at construction. Memory is bounded whatever the numbers of images,
    classes and templates.

    Args:
        predictor: gives encoder, class names and texts for single classes; its own template plays
            no part.
        examples: labelled images.
        metric: what scores them.

    Raises:
        ArgumentError: there are no examples, or a label is no class name.
        UnreadableImage: an image cannot be read.
    """

    at_once: ClassVar[bool] = True

    def __init__(
        self, predictor: CLIPPredict, examples: Sequence[dspy.Example], metric: TensorMetric
    ) -> None:
        import torch

        if not examples:
            raise ArgumentError("Expected at least one labelled image to score on, got none.")
        self._embedder = predictor.embedder
        self._classnames = predictor.classnames
        self._class_texts = predictor.class_texts
        self._metric = metric
        field = label_field(predictor.signature)
        labels = [label_of(example, field) for example in examples]
        self._labels = torch.tensor(class_indices(self._classnames, labels))
        self._counts = self._labels.bincount(minlength=len(self._classnames)).tolist()
        self._features = self._embedder.many_image_features([required_image(e) for e in examples])

    def score(self, texts: Sequence[str]) -> list[Score]:
        """Score templates on the images given at construction.

        Raises:
            InvalidTemplateError: a text is no template.
            EncoderError: the encoder gives something that is no number.
        """
        import torch

        templates = [Template(text) for text in texts]
        together = max(1, TEXTS_AT_ONCE // len(self._classnames))
        with torch.inference_mode():
            return [
                score
                for start in range(0, len(templates), together)
                for score in self._score(templates[start : start + together])
            ]

    @property
    def labels(self) -> Tensor:
        """The class index of each image: [N]."""
        return self._labels

    def guesses(self, template: Template) -> Tensor:
        """The index of the class that a template finds for each image: [N]."""
        import torch

        with torch.inference_mode():
            [texts] = self._text_features([template])
            found = [
                self._embedder.logits(self._features[chunk], texts).argmax(dim=-1)
                for chunk in image_chunks(len(self._labels), len(self._classnames))
            ]
            return torch.cat(found)

    def _score(self, templates: Sequence[Template]) -> list[Score]:
        import torch

        from ipo_dspy.encoders.parallel import parallel_map

        texts = self._text_features(templates)
        chunks = list(image_chunks(len(self._labels), len(self._classnames)))
        width = len(self._classnames) + len(SCALES) + 1
        sums = torch.zeros((len(templates), width), dtype=torch.float64)
        for start in range(0, len(chunks), CHUNKS_TOGETHER):
            together = chunks[start : start + CHUNKS_TOGETHER]
            for part in parallel_map([partial(self._sums, each, texts) for each in together]):
                sums += part
        return [
            _score_of(template.text, self._classnames, self._counts, of_template)
            for template, of_template in zip(templates, sums.tolist(), strict=True)
        ]

    def _text_features(self, templates: Sequence[Template]) -> list[Tensor]:
        if not self._class_texts:
            return self._embedder.text_features_of(templates, self._classnames)
        prompts = [TextPrompt(template, self._class_texts) for template in templates]
        return [prompt.class_features(self._embedder, self._classnames) for prompt in prompts]

    def _sums(self, chunk: slice, texts: Sequence[Tensor]) -> Tensor:
        """Sums over some images, for each template: [templates, width of `_sums`] float64."""
        import torch

        images, labels = self._features[chunk], self._labels[chunk]
        return torch.stack(
            [
                _sums(self._embedder.logits(images, of_template), labels, self._metric)
                for of_template in texts
            ]
        )


def score_logits(
    text: str, logits: Tensor, labels: Tensor, classnames: Sequence[str], metric: TensorMetric
) -> Score:
    """Score [N, C] logits against [N] class indices, however the logits were made.

    Args:
        text: names what made them, in the message of an error.
        logits: of all classes.
        labels: what the images show.
        classnames: the names of the classes.
        metric: what scores them.

    Raises:
        EncoderError: something is no number.
    """
    counts = labels.bincount(minlength=len(classnames)).tolist()
    return _score_of(text, classnames, counts, _sums(logits, labels, metric).tolist())


def _sums(logits: Tensor, labels: Tensor, metric: TensorMetric) -> Tensor:
    """Sums of the metric by class, of the losses by scale, of `squares`: [C + S + 1] float64."""
    import torch

    values = metric.from_logits(logits, labels)
    by_class = torch.bincount(labels, values.double(), minlength=logits.shape[1])
    exact = logits.double()
    return torch.cat([by_class, losses_at_scales(exact, labels), squares(exact)])


def _score_of(
    text: str, classnames: Sequence[str], counts: Sequence[int], sums: Sequence[float]
) -> Score:
    """Add up what there is of each class; `sums` are those of `_sums`."""
    n = sum(counts)
    values, of_scales = sums[: len(counts)], [loss / n for loss in sums[len(counts) : -1]]
    accuracy = 100.0 * math.fsum(values) / n
    if math.isnan(accuracy + of_scales[RAW]):
        raise EncoderError(f"The metric or the loss of {text!r} is not a number.")
    by_class = zip(classnames, values, counts, strict=True)
    return Score(
        accuracy=accuracy,
        loss=of_scales[RAW],
        n=n,
        per_class={name: 100.0 * value / count for name, value, count in by_class if count},
        losses=_rounded(of_scales),
        spread=_spread(sums[-1], n),
    )


def losses_at_scales(logits: Tensor, labels: Tensor) -> Tensor:
    """Sum the cross-entropies of [N, C] logits at each of `SCALES` times them: [S] float64.

    The exponentials are taken twice and squared for the other scales, each twice the one before
    the last.
    """
    import torch

    below_best = logits.double() - logits.double().amax(dim=1, keepdim=True)
    of_label = below_best.gather(1, labels[:, None]).squeeze(1).sum()
    sums = torch.empty(len(SCALES), dtype=torch.float64)
    for first in (0, 1):
        powers = (below_best * SCALES[first]).exp()
        for index in range(first, len(SCALES), 2):
            sums[index] = powers.sum(dim=1).log().sum() - SCALES[index] * of_label
            powers = powers.square()
    return sums


def squares(logits: Tensor) -> Tensor:
    """Sum the mean squares of each image's logits about their mean: [1] float64, of [N, C]."""
    return logits.double().var(dim=1, correction=0).sum()[None]


def _spread(of_squares: float, n: int) -> float:
    return round(math.sqrt(of_squares / n), 6)


def _rounded(losses: Sequence[float]) -> tuple[float, ...]:
    # Nothing is ranked by what lies beyond a millionth, and a journal has many of these.
    return tuple(round(loss, 6) for loss in losses)


class ProgramScorer:
    """Scores texts by running the whole program with any DSPy metric.

    Programs with a `predict_batch` that belongs to their `forward` run in one batch. Examples that
    fail count as 0, as in `dspy.Evaluate`, and with the highest loss there is.
    """

    at_once: ClassVar[bool] = False

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
        most = dspy.settings.max_errors if max_errors is None else max_errors
        self._evaluate = BatchEvaluate(
            devset=self._examples,
            metric=metric,
            num_threads=num_threads,
            # That all examples fail is never a score.
            max_errors=min(most, len(self._examples)),
        )

    def score(self, texts: Sequence[str]) -> list[Score]:
        """Score instruction texts on the examples given at construction.

        Raises:
            EvaluationError: too many examples fail with one of the texts.
        """
        return [self._score(text) for text in texts]

    def _score(self, text: str) -> Score:
        # Modules such as `dspy.BestOfN` write to the trace, so there has to be one.
        with _instructions(self._predictor, text), dspy.context(trace=[]):
            results = self._evaluate(self._program, callback_metadata=self._metadata).results
        return score_results(results)


def score_results(results: Sequence[tuple[dspy.Example, Any, Any]]) -> Score:
    """Sum up the rows of a `dspy.Evaluate`: example, prediction, value of the metric."""
    values = [number_of(value) for _, _, value in results]
    losses = _losses(results, values)
    names = [_name(example, prediction) for example, prediction, _ in results]
    of_logits = _of_logits([(example, prediction) for example, prediction, _ in results])
    return _summary(names, values, losses, of_logits)


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

    at_once: ClassVar[bool] = True

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
        and predictor.learned is None
        # What describes the classes is asked by the program, and may cost.
        and program.describe is None
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


def _name(example: dspy.Example, prediction: dspy.Prediction) -> str:
    probabilities = probabilities_of(prediction)
    field = "label" if probabilities is None else probabilities.label_field
    label = label_of(example, field)
    return "" if label is None else str(label)


def _losses(results: Sequence[Any], values: Sequence[float]) -> list[float]:
    """The loss of each example; those that failed have the highest there is, so that none gains."""
    losses = [
        None if _has_failed(prediction) else _loss(example, prediction, value)
        for (example, prediction, _), value in zip(results, values, strict=True)
    ]
    has_probabilities = any(
        probabilities_of(prediction) is not None for _, prediction, _ in results
    )
    known = [loss for loss in losses if loss is not None]
    highest = max([1.0, *known, *([_HIGHEST_LOSS] if has_probabilities else [])])
    return [highest if loss is None else loss for loss in losses]


def _has_failed(prediction: Any) -> bool:
    return isinstance(prediction, dspy.Prediction) and not prediction.keys()


def _loss(example: dspy.Example, prediction: dspy.Prediction, value: float) -> float:
    probabilities = probabilities_of(prediction)
    if probabilities is None:
        return 1.0 - value
    label = label_of(example, probabilities.label_field)
    if label not in probabilities.classnames:
        return 1.0 - value
    probability = probabilities.of(label)
    return -math.log(probability) if probability > _LEAST_PROBABILITY else _HIGHEST_LOSS


def _of_logits(results: Sequence[tuple[dspy.Example, dspy.Prediction]]) -> dict[str, Any]:
    """The `losses` and the `spread` of a score; none where one has no class probabilities."""
    import torch

    sums = torch.zeros(len(SCALES) + 1, dtype=torch.float64)
    for example, prediction in results:
        probabilities = probabilities_of(prediction)
        if probabilities is None:
            return {}
        label = label_of(example, probabilities.label_field)
        if label not in probabilities.classnames:
            return {}
        logits = torch.from_numpy(probabilities.values).double().clamp(min=_LEAST_PROBABILITY).log()
        index = torch.tensor([class_index(probabilities.classnames, label)])
        sums += torch.cat([losses_at_scales(logits[None], index), squares(logits[None])])
    *losses, of_squares = sums.tolist()
    n = len(results)
    return {"losses": _rounded([loss / n for loss in losses]), "spread": _spread(of_squares, n)}


def _summary(
    names: Sequence[str],
    values: Sequence[float],
    losses: Sequence[float],
    of_logits: Mapping[str, Any],
) -> Score:
    per_class: dict[str, list[float]] = defaultdict(list)
    for name, value in zip(names, values, strict=True):
        per_class[name].append(value)
    return Score(
        accuracy=100.0 * math.fsum(values) / len(values),
        loss=math.fsum(losses) / len(losses),
        n=len(values),
        per_class={name: 100.0 * math.fsum(v) / len(v) for name, v in per_class.items()},
        **of_logits,
    )
