"""How good templates are on images that no optimizer saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

from ipo_dspy.errors import ArgumentError
from ipo_dspy.features.embedder import Embedder, image_chunks
from ipo_dspy.images import LabeledImages
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.programs.metrics import clip_acc
from ipo_dspy.programs.probabilities import class_indices
from ipo_dspy.programs.prompt import LearnedPrompt, Prompt, TextPrompt
from ipo_dspy.prompts.class_texts import ClassTexts
from ipo_dspy.prompts.template import Template
from ipo_dspy.records import Score
from ipo_dspy.scoring.scorers import TensorScorer, score_logits


@dataclass(frozen=True)
class Evaluation:
    """What a template does on one set of images; `hits` says of each image whether it was right.

    `beside` says what stands beside the template, if anything does.
    """

    template: Template
    score: Score
    hits: tuple[bool, ...]
    beside: str = ""

    @property
    def label(self) -> str:
        """What was evaluated, in words."""
        return f"{self.template.text} ({self.beside})" if self.beside else self.template.text


@dataclass(frozen=True)
class Comparison:
    """The prompt a search began with and the one it found, on the same unseen images.

    `ensemble` is what several of the best prompts do together, where there are several, and
    `described` what the found prompt does with texts for each class, where there are some.
    """

    part: str
    before: Evaluation
    after: Evaluation
    ensemble: Evaluation | None = None
    described: Evaluation | None = None

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
            Evaluation(template, score, tuple(self._scorer.hits(template).tolist()))
            for template, score in zip(templates, scores, strict=True)
        ]

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
            hits = (logits.argmax(dim=-1) == labels).tolist()
        return Evaluation(template, score, tuple(hits), beside)


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
    compared = Comparison(part, *evaluator.evaluate(templates))
    if not class_texts:
        return compared
    with_texts = evaluator.evaluate_prompt(TextPrompt(after, class_texts), after, WITH_TEXTS)
    return replace(compared, described=with_texts)


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
