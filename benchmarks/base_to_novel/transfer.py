"""One training, tested on other data sets, or in the demo on other media."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.base_to_novel.bench import Method, load_embedder, make_method
from benchmarks.base_to_novel.learning import (
    CLIP,
    IPO,
    LEARNERS,
    Trained,
    check_methods,
    count_right,
    facts_of,
    make_learner,
    train,
)
from benchmarks.base_to_novel.options import BenchmarkOptions
from benchmarks.base_to_novel.outcomes import remembered, write_json, write_text
from benchmarks.figures import aligned
from benchmarks.provenance import provenance
from ipo_dspy import CLIPClassifier, __version__
from ipo_dspy.datasets import find_benchmark, load_benchmark
from ipo_dspy.demo.world import CLASSES, write_folder
from ipo_dspy.errors import ArgumentError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.features.store import CacheableEncoder
from ipo_dspy.images import LabeledImages, read_folder
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE, Template
from ipo_dspy.records import Record
from ipo_dspy.runs.identity.earlier import digest
from ipo_dspy.scoring.comparison import Evaluator
from ipo_dspy.terminal.output import remark, stage

DEMO_TEST_PICTURES = 5
"""Unseen pictures of each class in each medium of the demo."""


@dataclass(frozen=True)
class Target:
    """What is tested on: unseen images of all classes, and the template written for them."""

    name: str
    images: LabeledImages
    template: Template


@dataclass(frozen=True)
class Transfer:
    """A source, all of whose classes are trained on, and targets.

    Attributes:
        source: its name.
        few_shot: from a seed to its few training images.
        targets: in the order asked for.
    """

    source: str
    few_shot: Callable[[int], LabeledImages]
    targets: tuple[Target, ...]


class Transferred(Record):
    """How many images of each target are classified rightly, of how many, and the training."""

    right: dict[str, int]
    images: dict[str, int]
    trained: Trained | None = None
    text: str | None = None


def find_transfer(run: BenchmarkOptions) -> Transfer:
    """Find source and targets: data sets, or media of the demo.

    Raises:
        ArgumentError: there are no targets, or neither data sets nor the demo.
        DataError: a data set is not there.
    """
    data, chosen = run.data, run.transfer
    if chosen.source is None or not chosen.targets:
        raise ArgumentError("Give --source with what to train on, and --targets with what to test.")
    if data.demo == (data.root is not None):
        raise ArgumentError("Give either --root with the benchmark datasets, or --demo.")
    if data.root is None:
        return _media(chosen.source, chosen.targets, data.shots, run.files.runs / "media")
    source = load_benchmark(chosen.source, data.root)
    return Transfer(
        find_benchmark(chosen.source).name,
        lambda seed: source.few_shot(data.shots, seed)[0],
        tuple(_target(name, data.root) for name in chosen.targets),
    )


def _target(name: str, root: Path) -> Target:
    benchmark = find_benchmark(name)
    return Target(benchmark.name, load_benchmark(name, root).test, benchmark.template)


def _media(source: str, targets: Sequence[str], shots: int, folder: Path) -> Transfer:
    def draw(medium: str, split: Any, count: int, seed: int) -> LabeledImages:
        target = folder / f"{medium}-{split}-{count}-{seed}"
        write_folder(
            target, medium=medium, class_names=CLASSES, per_class=count, seed=seed, split=split
        )
        return read_folder(target)

    return Transfer(
        source,
        partial(draw, source, "train", shots),
        tuple(
            Target(name, draw(name, "test", DEMO_TEST_PICTURES, 0), Template(f"a {name} of a {{}}"))
            for name in targets
        ),
    )


def transfer(run: BenchmarkOptions) -> str:
    """Train on the source and test on all targets, once each; give the table.

    Raises:
        ArgumentError: the options do not fit together.
        SearchStoppedError: a model cannot be used.
    """
    methods = check_methods(run.compared.methods)
    found = find_transfer(run)
    embedder = load_embedder(run.encoder)
    searching = make_method(run) if IPO in methods else None
    outcomes: dict[str, list[Transferred]] = {}
    for seed in run.data.seeds:
        images = found.few_shot(seed)
        for name in methods:
            remark(f"{found.source}, seed {seed}: {name}")
            for row, outcome in _outcomes(name, run, found, embedder, searching, images, seed):
                outcomes.setdefault(row, []).append(outcome)
    made = provenance("benchmarks.base_to_novel")
    written = {
        "provenance": made,
        "settings": run.settings,
        "source": found.source,
        "rows": {
            row: [o.model_dump(mode="json") for o in of_row] for row, of_row in outcomes.items()
        },
    }
    name = f"transfer_{found.source}"
    write_json(run.file(name, ".json"), written)
    text = _markdown(found, outcomes, made)
    write_text(run.file(name, ".md"), text)
    return text


def _outcomes(
    name: str,
    run: BenchmarkOptions,
    found: Transfer,
    embedder: Embedder,
    searching: Method | None,
    images: LabeledImages,
    seed: int,
) -> list[tuple[str, Transferred]]:
    """The rows of a method on one seed."""
    encoder = embedder.encoder
    known = encoder.image_fingerprint if isinstance(encoder, CacheableEncoder) else encoder.spec
    facts: dict[str, Any] = {
        "version": __version__,
        "source": found.source,
        "seed": seed,
        "encoder": digest([known]),
        "training_images": images.fingerprint(),
        "targets": [
            [t.name, len(t.images), digest(list(t.images.classnames))] for t in found.targets
        ],
    }
    keep = partial(
        remembered, run.files.runs, f"{found.source}-seed{seed}-to-others-{name.lower()}"
    )
    if name == CLIP:
        generic = {target.name: DEFAULT_TEMPLATE for target in found.targets}
        hand = {target.name: target.template for target in found.targets}
        return [
            (f"CLIP, {kind} template", _test_texts(embedder, found, texts))
            for kind, texts in (("generic", generic), ("hand-written", hand))
        ]
    if name in LEARNERS:
        epochs = {} if run.compared.epochs is None else {"epochs": run.compared.epochs}
        learner = make_learner(name, None, seed=seed, **epochs)
        make = partial(_learn, learner, embedder, found, images)
        return [(name, keep({**facts, **facts_of(learner)}, Transferred, make))]
    if searching is None or name != IPO:
        raise ArgumentError(f"{name} is no method that can be transferred.")
    make = partial(_search, searching, embedder, found, images, seed)
    return [(name, keep({**facts, **searching.facts}, Transferred, make))]


def _learn(
    learner: Any, embedder: Embedder, found: Transfer, images: LabeledImages, folder: Path
) -> Transferred:
    learner.run_dir = folder
    with stage("Training"):
        fields, learned = train(learner, embedder, images, DEFAULT_TEMPLATE.text)
    with stage("Testing"):
        right = {t.name: count_right(embedder, t.images, learned) for t in found.targets}
    return Transferred(right=right, images=_sizes(found), trained=Trained(**fields))


def _search(
    searching: Method,
    embedder: Embedder,
    found: Transfer,
    images: LabeledImages,
    seed: int,
    folder: Path,
) -> Transferred:
    optimizer = searching.optimizer(seed, folder)
    student = CLIPClassifier(images.classnames, embedder)
    with stage("Searching"):
        best: Any = optimizer.compile(student, trainset=images.examples)
    texts = {target.name: best.template for target in found.targets}
    return _test_texts(embedder, found, texts).model_copy(update={"text": best.template.text})


def _test_texts(embedder: Embedder, found: Transfer, texts: Mapping[str, Template]) -> Transferred:
    right = {}
    for target in found.targets:
        [evaluation] = Evaluator(embedder, target.images).evaluate([texts[target.name]])
        right[target.name] = sum(evaluation.hits)
    return Transferred(right=right, images=_sizes(found))


def _sizes(found: Transfer) -> dict[str, int]:
    return {target.name: len(target.images) for target in found.targets}


def _markdown(
    found: Transfer, outcomes: Mapping[str, Sequence[Transferred]], made: Mapping[str, Any]
) -> str:
    names = [target.name for target in found.targets]
    rows = []
    for row, of_seeds in outcomes.items():
        accuracies = [
            fmean(100 * o.right[name] / o.images[name] for o in of_seeds) for name in names
        ]
        others = [a for a, name in zip(accuracies, names, strict=True) if name != found.source]
        mean = fmean(others or accuracies)
        rows.append([row, *(f"{a:.2f}" for a in accuracies), f"{mean:.2f}"])
    changes = " with uncommitted changes" if made["uncommitted_changes"] else ""
    return "\n".join(
        [
            f"# From {found.source} to others",
            "",
            f"`{made['command']}`, {made['date']}, commit {made['commit']}{changes}. Trained on "
            f"all classes of {found.source}; accuracy in percent, means over the seeds, the last "
            "column the mean over the targets that are not the source.",
            "",
            *aligned(["method", *names, "others"], rows),
            "",
        ]
    )
