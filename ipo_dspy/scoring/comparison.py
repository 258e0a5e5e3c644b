"""How good templates are on images that no optimizer saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ipo_dspy.errors import ArgumentError
from ipo_dspy.features.embedder import Embedder, image_chunks
from ipo_dspy.images import LabeledImages
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.programs.metrics import clip_acc
from ipo_dspy.programs.probabilities import class_indices
from ipo_dspy.programs.prompt import LearnedPrompt
from ipo_dspy.prompts.template import Template
from ipo_dspy.records import Score
from ipo_dspy.scoring.scorers import TensorScorer, score_logits


@dataclass(frozen=True)
class Evaluation:
    """What a template does on one set of images; `hits` says of each image whether it was right."""

    template: Template
    score: Score
    hits: tuple[bool, ...]


@dataclass(frozen=True)
class Comparison:
    """The prompt a search began with and the one it found, on the same unseen images."""

    part: str
    before: Evaluation
    after: Evaluation

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
        import torch

        embedder, names = self._embedder, self._images.classnames
        labels = torch.tensor(
            class_indices(names, [example.label for example in self._images.examples])
        )
        images = [example.image for example in self._images.examples]
        with torch.inference_mode():
            parts = [
                learned.logits(embedder, learned.image_features(embedder, images[chunk]), names)
                for chunk in image_chunks(len(images), len(names))
            ]
            logits = torch.cat(parts)
            score = score_logits(learned.text.text, logits, labels, names, clip_acc)
            hits = (logits.argmax(dim=-1) == labels).tolist()
        return Evaluation(learned.text, score, tuple(hits))


def compare(
    part: str, embedder: Embedder, images: LabeledImages, before: Template, after: Template
) -> Comparison:
    """Evaluate two templates on the same images; see `Evaluator`."""
    return Comparison(part, *Evaluator(embedder, images).evaluate([before, after]))


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
