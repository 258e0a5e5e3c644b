"""How good templates are on images that no optimizer saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from math import sqrt
from typing import TYPE_CHECKING

import dspy

from ipo_dspy.errors import ArgumentError
from ipo_dspy.features.embedder import Embedder, image_chunks
from ipo_dspy.images import LabeledImages
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.programs.metrics import Metric, clip_acc
from ipo_dspy.programs.probabilities import class_indices
from ipo_dspy.programs.prompt import LearnedPrompt, Prompt, TextPrompt
from ipo_dspy.prompts.class_texts import ClassTexts
from ipo_dspy.prompts.template import Template
from ipo_dspy.records import Score
from ipo_dspy.scoring.evaluate import BatchEvaluate, number_of
from ipo_dspy.scoring.scorers import TensorScorer, score_logits, score_results

if TYPE_CHECKING:
    from torch import Tensor

_RIGHT = 0.5
_Z = 1.959964
"""Of a 95 % interval, two-sided."""


@dataclass(frozen=True)
class Evaluation:
    """What a template, or instructions of another program, do on one set of images or examples.

    Attributes:
        template: what was evaluated.
        score: over all of them.
        hits: whether each was right.
        beside: what stands beside the template, if anything does.
        guesses: what was found for each, as text; empty where it is not known.
    """

    template: Template | str
    score: Score
    hits: tuple[bool, ...]
    beside: str = ""
    guesses: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What was evaluated, as text."""
        return str(self.template)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the accuracy in percent; see `wilson`."""
        return wilson(sum(self.hits), len(self.hits))

    @property
    def label(self) -> str:
        """What was evaluated, in words."""
        return f"{self.text} ({self.beside})" if self.beside else self.text


@dataclass(frozen=True)
class Comparison:
    """The prompt a search began with and the one it found, on the same unseen images.

    Attributes:
        part: what the images are called, such as `base`.
        before: the first prompt.
        after: the found one.
        ensemble: what several of the best prompts do together, where there are several.
        described: what the found prompt does with texts for each class, where there are some.
        examples: the images with their labels, in the order of the hits; may be missing.
    """

    part: str
    before: Evaluation
    after: Evaluation
    ensemble: Evaluation | None = None
    described: Evaluation | None = None
    examples: tuple[dspy.Example, ...] = ()

    @property
    def gained(self) -> int:
        """How many images only the found prompt gets right."""
        pairs = zip(self.before.hits, self.after.hits, strict=True)
        return sum(after and not before for before, after in pairs)

    @property
    def lost(self) -> int:
        """How many images only the first prompt gets right."""
        pairs = zip(self.before.hits, self.after.hits, strict=True)
        return sum(before and not after for before, after in pairs)

    @property
    def p_value(self) -> float:
        """McNemar's exact test; see `mcnemar`."""
        return mcnemar(self.gained, self.lost)

    @property
    def gain(self) -> float:
        """What the found prompt adds to the accuracy, in points."""
        return 100 * (self.gained - self.lost) / len(self.after.hits)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the gain, in points; see `paired_interval`."""
        return paired_interval(self.gained, self.lost, len(self.after.hits))


class Evaluator:
    """Evaluates templates, or what was learned, on one set of images, which it encodes once.

    Memory is bounded whatever the number of images.

    Args:
        embedder: encodes images and templates.
        images: told apart among `images.classnames`.

    Raises:
        ArgumentError: there are no images.
    """

    def __init__(self, embedder: Embedder, images: LabeledImages) -> None:
        if not images.examples:
            raise ArgumentError("Expected at least one image to evaluate on, got none.")
        self._embedder = embedder
        self._images = images

    @cached_property
    def _scorer(self) -> TensorScorer:
        predictor = CLIPClassifier(self._images.classnames, self._embedder).predict
        return TensorScorer(predictor, self._images.examples, clip_acc)

    def evaluate(self, templates: Sequence[Template]) -> list[Evaluation]:
        """Evaluate templates, several at once.

        Raises:
            ArgumentError: a text is too long for the encoder.
        """
        scores = self._scorer.score([template.text for template in templates])
        return [
            self._evaluation(template, score, self._scorer.guesses(template), self._scorer.labels)
            for template, score in zip(templates, scores, strict=True)
        ]

    def _evaluation(
        self, template: Template, score: Score, guesses: Tensor, labels: Tensor
    ) -> Evaluation:
        names = self._images.classnames
        hits = tuple((guesses == labels).tolist())
        return Evaluation(
            template, score, hits, guesses=tuple(names[index] for index in guesses.tolist())
        )

    def evaluate_learned(self, learned: LearnedPrompt) -> Evaluation:
        """Evaluate what an optimizer learned; its text stands as the template.

        Raises:
            ArgumentError: a class name does not fit, or the tensors do not fit the encoder.
        """
        return self.evaluate_prompt(learned, learned.text)

    def evaluate_prompt(self, prompt: Prompt, template: Template, beside: str = "") -> Evaluation:
        """Evaluate whatever gives logits.

        Args:
            prompt: classifies the images.
            template: what it is known by.
            beside: see `Evaluation`.

        Raises:
            ArgumentError: a text is too long for the encoder.
        """
        import torch

        embedder, names = self._embedder, self._images.classnames
        labels = torch.tensor(
            class_indices(names, [example.label for example in self._images.examples])
        )
        images = [example.image for example in self._images.examples]
        with torch.inference_mode():
            parts = [
                prompt.logits(embedder, prompt.image_features(embedder, images[chunk]), names)
                for chunk in image_chunks(len(images), len(names))
            ]
            logits = torch.cat(parts)
            score = score_logits(template.text, logits, labels, names, clip_acc)
            found = self._evaluation(template, score, logits.argmax(dim=-1), labels)
        return replace(found, beside=beside)


def sides(comparisons: Sequence[Comparison]) -> list[list[Evaluation]]:
    """The evaluations of each prompt, part by part, where there are any.

    These are the first prompt, the found one, the ensemble, and the found one with class texts.
    """
    if not comparisons:
        return []
    pairs = [[c.before for c in comparisons], [c.after for c in comparisons]]
    ensembles = [c.ensemble for c in comparisons if c.ensemble is not None]
    described = [c.described for c in comparisons if c.described is not None]
    whole = [side for side in (ensembles, described) if len(side) == len(comparisons)]
    return [*pairs, *whole]


def compare(
    part: str,
    embedder: Embedder,
    images: LabeledImages,
    before: Template,
    after: Template,
    ensemble: Template | None = None,
    class_texts: ClassTexts | None = None,
) -> Comparison:
    """Evaluate two templates on the same images, or three; see `Evaluator`.

    Args:
        part: what the images are called.
        embedder: encodes images and templates.
        images: that no optimizer saw.
        before: the first template.
        after: the found one.
        ensemble: several templates together, where there are some.
        class_texts: what is put behind the found one, where there is something.
    """
    evaluator = Evaluator(embedder, images)
    templates = [before, after] if ensemble is None else [before, after, ensemble]
    first, found, *joined = evaluator.evaluate(templates)
    with_texts = None
    if class_texts:
        with_texts = evaluator.evaluate_prompt(TextPrompt(after, class_texts), after, WITH_TEXTS)
    return Comparison(
        part, first, found, joined[0] if joined else None, with_texts, images.examples
    )


def compare_programs(
    part: str,
    before: dspy.Module,
    after: dspy.Module,
    examples: Sequence[dspy.Example],
    metric: Metric = clip_acc,
) -> Comparison:
    """Run two programs of any kind on the same examples.

    An example counts as right where the metric gives at least one half; what a program answered is
    the last field of its prediction.

    Args:
        part: what the examples are called.
        before: the program that an optimizer was given.
        after: the program that it gave back.
        examples: unseen ones.
        metric: a DSPy metric, from 0 to 1.

    Raises:
        ArgumentError: there are no examples.
        EvaluationError: a program or the metric fails on too many.
    """
    first, found = (_evaluation_of(program, examples, metric) for program in (before, after))
    return Comparison(part, first, found, examples=tuple(examples))


def _evaluation_of(
    program: dspy.Module, examples: Sequence[dspy.Example], metric: Metric
) -> Evaluation:
    result = BatchEvaluate(devset=list(examples), metric=metric, display_progress=False)(program)
    return Evaluation(
        prompts_text(program),
        score_results(result.results),
        tuple(number_of(value) >= _RIGHT for *_, value in result.results),
        guesses=tuple(_answer(prediction) for _, prediction, _ in result.results),
    )


def prompts_text(program: dspy.Module) -> str:
    """The instructions of a program's predictors; with several, each after its predictor's name."""
    texts = {
        name: predictor.signature.instructions for name, predictor in program.named_predictors()
    }
    if len(texts) == 1:
        return str(next(iter(texts.values())))
    return "\n".join(f"{name}: {text}" for name, text in texts.items())


def _answer(prediction: dspy.Prediction) -> str:
    keys = list(prediction.keys())
    return str(prediction[keys[-1]]) if keys else "no answer"


WITH_TEXTS = "with texts for each class"
"""What is said of a template that has texts for each class behind it."""
SIGNIFICANT = 0.05
"""A difference that chance makes less often than this is one."""


class Verdict(StrEnum):
    """Whether the found prompt is better than the first one, as far as unseen images tell."""

    KEPT = "The first prompt was kept: on the training images none was better."
    UNKNOWN = "No images were held out, so nothing tells whether the found prompt is better."
    TOO_SMALL = (
        "Too few unseen images are classified differently to tell whether the found prompt is "
        "better; hold out more images, or take more classes."
    )
    SAME = "On unseen images, the found prompt cannot be told apart from the first one."
    BETTER = "On unseen images, the found prompt is better than the first one beyond chance."
    WORSE = "On unseen images, the found prompt is worse than the first one beyond chance."


def verdict(comparisons: Sequence[Comparison], *, kept: bool) -> Verdict:
    """Judge a search by McNemar's exact test over all unseen images.

    Args:
        comparisons: of the first prompt with the found one; may be empty.
        kept: whether the found prompt is the first one.
    """
    if kept:
        return Verdict.KEPT
    if not comparisons:
        return Verdict.UNKNOWN
    gained, lost = sum(c.gained for c in comparisons), sum(c.lost for c in comparisons)
    if mcnemar(gained + lost, 0) >= SIGNIFICANT:
        return Verdict.TOO_SMALL
    if mcnemar(gained, lost) >= SIGNIFICANT:
        return Verdict.SAME
    return Verdict.BETTER if gained > lost else Verdict.WORSE


def check_fit(embedder: Embedder, template: Template, classnames: Sequence[str]) -> None:
    """Check that an encoder takes a template filled with every class name.

    Raises:
        ArgumentError: a text would be too long; the message names the class.
    """
    limit = embedder.encoder.context_length
    tokens = {name: embedder.count_tokens(template, [name]) for name in classnames}
    longest = max(tokens, key=lambda name: tokens[name])
    if tokens[longest] > limit:
        raise ArgumentError(
            f"The prompt {template.text!r} has {tokens[longest]} tokens with the class name "
            f"{longest!r}, and the encoder takes at most {limit}; shorten the prompt or give the "
            "class a shorter name."
        )


def harmonic_mean(base: float, novel: float) -> float:
    """H of the base-to-novel protocol; 0 where one of the accuracies is 0."""
    return 2 * base * novel / (base + novel) if base and novel else 0.0


def h_of(scores: Mapping[str, Score]) -> float | None:
    """H of scores by part; None where base or novel is missing."""
    if "base" not in scores or "novel" not in scores:
        return None
    return harmonic_mean(scores["base"].accuracy, scores["novel"].accuracy)


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p-value of McNemar's test.

    The probability that chance alone divides `gained + lost` images at least as unevenly, if each
    of them had been as likely to be gained as to be lost.
    """
    n = gained + lost
    ways, tail = 1, 0
    for fewer in range(min(gained, lost) + 1):
        tail += ways
        ways = ways * (n - fewer) // (fewer + 1)
    return min(1.0, 2 * tail / 2**n)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of an accuracy in percent (Wilson, 1927)."""
    share, weight = right / n, _Z**2 / n
    middle = share + weight / 2
    reach = _Z * sqrt(share * (1 - share) / n + weight / (4 * n))
    low, high = ((middle - reach) / (1 + weight), (middle + reach) / (1 + weight))
    return 100 * max(low, 0.0), 100 * min(high, 1.0)


def paired_interval(gained: int, lost: int, n: int) -> tuple[float, float]:
    """The 95 % interval of the difference of two accuracies on the same n images, in points.

    Half an image is added to each cell of the two-by-two table (Agresti and Min, 2005).
    """
    more, fewer, total = gained + 0.5, lost + 0.5, n + 2
    difference = (more - fewer) / total
    reach = _Z * sqrt(more + fewer - (more - fewer) ** 2 / total) / total
    return 100 * (difference - reach), 100 * (difference + reach)
