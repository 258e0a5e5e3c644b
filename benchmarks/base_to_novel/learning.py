"""What the gradient prompt learners of the poster's table leave behind."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from benchmarks.base_to_novel.described import DESCRIBED
from benchmarks.base_to_novel.outcomes import Counted
from benchmarks.memory import peak_memory
from benchmarks.provenance import provenance
from ipo_dspy import CLIPClassifier
from ipo_dspy.errors import ArgumentError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images import LabeledImages
from ipo_dspy.programs.prompt import LearnedPrompt
from ipo_dspy.records import Record
from ipo_dspy.registry import find
from ipo_dspy.scoring.comparison import Evaluator

CLIP, IPO = "CLIP", "IPO"
LEARNERS = ("CoOp", "CoCoOp", "MaPLe", "PromptSRC", "CoPrompt")
METHODS = (CLIP, *DESCRIBED, *LEARNERS, IPO)
"""The rows of the poster's table, in its order, and those with texts for each class."""


class Trained(Record):
    """A training.

    Attributes:
        epochs: how many were made.
        loss: of the last one.
        accuracy: of the last one, on the views it trained on, in percent.
        parameters: how many numbers were learned.
        seconds: it took; where it was interrupted, of its last part.
        peak_memory: in MiB, encoder included; None where no system tells.
        nearest_words: of the learned vectors, as text.
        commit: of the code that trained.
    """

    epochs: int
    loss: float
    accuracy: float
    parameters: int
    seconds: float
    peak_memory: int | None
    nearest_words: str
    commit: str


class Learned(Trained):
    """A training, and what it came to on unseen images of base and novel classes."""

    tested: Counted


def check_methods(methods: tuple[str, ...]) -> tuple[str, ...]:
    """Find methods by their names, in the order of the poster.

    Raises:
        ArgumentError: a name is none of a method, or there is none.
    """
    known = {name.lower(): name for name in METHODS}
    for method in methods:
        if method.lower() not in known:
            raise ArgumentError(f"{method!r} is no method; choose from {', '.join(METHODS)}.")
    chosen = {known[method.lower()] for method in methods}
    if not chosen:
        raise ArgumentError(f"Expected at least one method; choose from {', '.join(METHODS)}.")
    return tuple(name for name in METHODS if name in chosen)


def make_learner(method: str, dataset: str | None, **arguments: Any) -> Any:
    """Make a learner with its authors' settings.

    Args:
        method: one of `LEARNERS`.
        dataset: on which it is trained and tested; None is for training on one dataset and testing
            on others.
        arguments: come before the authors'.
    """
    kind = find("optimizers", method.lower())
    return (
        kind.for_transfer(**arguments)
        if dataset is None
        else kind.for_dataset(dataset, **arguments)
    )


def train(
    learner: Any, embedder: Embedder, images: LabeledImages, template: str
) -> tuple[Mapping[str, Any], LearnedPrompt]:
    """Train on labelled images: the fields of `Trained`, and what was learned."""
    student = CLIPClassifier(images.classnames, embedder, template)
    device = str(getattr(embedder.encoder, "device", "cpu"))
    started = perf_counter()
    with peak_memory(device) as peak:
        program: Any = learner.compile(student, trainset=images.examples)
    seconds = perf_counter() - started
    results = program.detailed_results
    last = results.epochs[-1]
    fields = {
        "epochs": len(results.epochs),
        "loss": last.loss,
        "accuracy": last.accuracy,
        "parameters": results.parameters,
        "seconds": round(seconds, 1),
        "peak_memory": peak.mebibytes,
        "nearest_words": str(program.nearest_words()),
        "commit": provenance(__name__)["commit"],
    }
    return fields, program.predict.learned


def count_right(embedder: Embedder, images: LabeledImages, learned: LearnedPrompt) -> int:
    """How many images are classified rightly with what was learned."""
    return sum(Evaluator(embedder, images).evaluate_learned(learned).hits)


def facts_of(learner: Any) -> dict[str, Any]:
    """Everything about a learner that decides what it learns."""
    left_out = {"run_dir", "progress", "on_epoch", "callbacks", "metric", "budget", "track_stats"}
    return {name: repr(value) for name, value in vars(learner).items() if name not in left_out} | {
        "method": learner.name
    }
