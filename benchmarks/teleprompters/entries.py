"""One entry of the contest: an optimizer on one seed, kept where there is a folder for it."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from functools import cached_property, lru_cache, partial
from os import devnull
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from benchmarks import second_world
from benchmarks.base_to_novel.outcomes import remembered
from benchmarks.judging import Hits, Judge, Verdict
from benchmarks.provenance import provenance
from benchmarks.teleprompters.contest import Arena, Outcome
from benchmarks.teleprompters.contestants import TELEPROMPTERS
from benchmarks.teleprompters.controls import CONTROLS, FIXED_TEXTS
from benchmarks.teleprompters.outcomes import DEMO
from ipo_dspy import LMDescriber, load_encoder
from ipo_dspy.datasets.task import benchmark_tasks
from ipo_dspy.demo.task import demo_task
from ipo_dspy.errors import ArgumentError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.task import MakeTask
from ipo_dspy.proposing.models import language_model, vision_model
from ipo_dspy.records import Record

Key: TypeAlias = tuple[str, int]
"""The name of an optimizer, and a seed."""

NAMES = (*FIXED_TEXTS, *CONTROLS, *TELEPROMPTERS)
"""Everything that can be compared, in the order of the table."""
_VERDICTS = ("verdict", "by_accuracy", "ensemble")
_DECIDING = ("lm", "budget", "data", "shots", "clip", "image_model", "told")


def check_names(names: list[str] | None) -> list[str]:
    """Find what is compared; None stands for everything.

    Raises:
        ArgumentError: a name is none there is.
    """
    for name in names or ():
        if name not in NAMES:
            known = ", ".join(NAMES)
            raise ArgumentError(f"There is no optimizer {name!r} to compare; choose from: {known}.")
    return list(names or NAMES)


class Kept(Record):
    """An outcome in a file; the hits of verdicts are texts of 0 and 1."""

    text: str
    train: float
    verdict: tuple[str, str]
    by_accuracy: tuple[str, str]
    ensemble: tuple[str, str]
    best_so_far: tuple[float, ...]
    returned: float | None
    calls: int
    tokens: int
    tried: int
    seconds: float

    @classmethod
    def of(cls, outcome: Outcome) -> Kept:
        """Write down an outcome."""
        verdicts = {
            name: (_bits(getattr(outcome, name).base), _bits(getattr(outcome, name).novel))
            for name in _VERDICTS
        }
        return cls(**{**vars(outcome), **verdicts})

    @property
    def outcome(self) -> Outcome:
        """The outcome that was written down."""
        fields: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        for name in _VERDICTS:
            base, novel = fields[name]
            fields[name] = Verdict(_hits(base), _hits(novel))
        return Outcome(**fields)


def _bits(hits: Hits) -> str:
    return "".join("1" if hit else "0" for hit in hits)


def _hits(bits: str) -> Hits:
    return np.array([bit == "1" for bit in bits], bool)


class Entries:
    """Runs entries; pickles as the options, and loads what it needs once in a process.

    Args:
        options: of the command.
        pictures: folder of what is drawn.
    """

    def __init__(self, options: argparse.Namespace, pictures: Path) -> None:
        self._options = options
        self._pictures = pictures
        self._arena: tuple[int, Arena] | None = None

    def __reduce__(self) -> tuple[object, tuple[Any, ...]]:
        return _entries, (tuple(sorted(_hashable(vars(self._options)).items())), self._pictures)

    def __call__(self, key: Key) -> Outcome:
        """Run an entry, or find it kept.

        Raises:
            IPOError: it cannot be run.
        """
        name, seed = key
        if self._options.runs is None:
            return self._run(name, seed)
        made = provenance("benchmarks.teleprompters")
        options = {option: str(getattr(self._options, option)) for option in _DECIDING}
        facts = {**options, "name": name, "seed": seed, "commit": made["commit"]}
        kept: Kept = remembered(
            self._options.runs,
            f"{name.replace(' ', '-')}-seed{seed}",
            facts,
            Kept,
            lambda _: Kept.of(self._run(name, seed)),
        )
        return kept.outcome

    def _run(self, name: str, seed: int) -> Outcome:
        if self._arena is None or self._arena[0] != seed:
            self._arena = seed, self._make_arena(seed)
        return _quietly(_entry(self._arena[1], name))

    def _make_arena(self, seed: int) -> Arena:
        options = self._options
        task = self._make_task(seed)
        image_model = options.image_model
        return Arena(
            task=task,
            embedder=self._embedder,
            judge=Judge(task, self._embedder),
            budget=options.budget,
            # A model of its own for every run: what one keeps of a run does not reach the next.
            make_lm=partial(language_model, options.lm),
            describer=LMDescriber(vision_model(image_model)) if image_model else None,
            told=options.told,
        )

    @cached_property
    def _embedder(self) -> Embedder:
        if self._options.data == second_world.NAME:
            return Embedder(second_world.load_second_encoder())
        return Embedder(load_encoder(self._options.clip))

    @cached_property
    def _make_task(self) -> MakeTask:
        options = self._options
        if options.data == DEMO:
            return partial(demo_task, self._pictures, shots=options.shots)
        if options.data == second_world.NAME:
            return partial(second_world.second_task, self._pictures, shots=options.shots)
        return benchmark_tasks(options.data, options.root, options.shots)


@lru_cache(maxsize=1)
def _entries(options: tuple[tuple[str, Any], ...], pictures: Path) -> Entries:
    """The same again, in a process that runs one entry after the other."""
    return Entries(argparse.Namespace(**dict(options)), pictures)


def _hashable(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }


def _entry(arena: Arena, name: str) -> Callable[[], Outcome]:
    if name in FIXED_TEXTS:
        return lambda: arena.run_fixed(FIXED_TEXTS[name])
    run = {**CONTROLS, **TELEPROMPTERS}[name]
    return lambda: arena.run(run)


def _quietly(run: Callable[[], Outcome]) -> Outcome:
    """Run without what DSPy's optimizers print and log."""
    logging.disable(logging.WARNING)
    try:
        with open(devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            return run()
    finally:
        logging.disable(logging.NOTSET)
