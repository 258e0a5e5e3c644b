"""One task of the table: a method on a seed of a data set, done once and kept."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeAlias

import dspy
import open_clip

from benchmarks.base_to_novel.bench import Bench, Method, load_embedder, make_lm, make_method
from benchmarks.base_to_novel.datasets import Dataset, find_datasets
from benchmarks.base_to_novel.described import DESCRIBED, WAFFLE
from benchmarks.base_to_novel.learning import CLIP, IPO
from benchmarks.base_to_novel.options import BenchmarkOptions
from benchmarks.base_to_novel.results import (
    ENSEMBLE,
    GENERIC,
    HAND_WRITTEN,
    POSTER_PROMPT,
    Outcome,
)
from benchmarks.poster import POSTER
from ipo_dspy.images.task import MakeTask, Task
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE, SLOT
from ipo_dspy.terminal.options import EncoderOptions

Key: TypeAlias = tuple[str, str, int]
"""A method, a data set and a seed."""


class Tasks:
    """Does tasks; pickles as its options, and loads what it needs once in a process.

    Args:
        run: everything that decides the figures.
    """

    def __init__(self, run: BenchmarkOptions) -> None:
        self._run = run
        self._opened: tuple[str, MakeTask] | None = None
        self._task: tuple[str, Task] | None = None

    def __reduce__(self) -> tuple[object, tuple[BenchmarkOptions]]:
        return tasks_of, (self._run,)

    def load(self, methods: Collection[str]) -> None:
        """Load what tasks of these methods need, so that mistakes in the options are told at once.

        Raises:
            ArgumentError: the encoder, or a model, is none there is.
            EncoderError: weights are missing, unreadable or do not fit.
        """
        if IPO in methods:
            self._method.facts  # noqa: B018 - made once
        if any(name in DESCRIBED and name != WAFFLE for name in methods):
            self._lm.model  # noqa: B018 - made once
        self._bench.test  # noqa: B018 - loaded once

    def __call__(self, key: Key) -> Outcome:
        """Do a task, or find it done.

        Raises:
            IPOError: it cannot be done; the same call goes on where it stopped.
        """
        method, name, seed = key
        task = self._task_of(name, seed)
        if method == CLIP:
            return self._bench.test(task, fixed_texts(self._datasets[name]))
        if method == IPO:
            return self._bench.search(task, self._method)
        if method in DESCRIBED:
            lm = None if method == WAFFLE else self._lm
            return self._bench.describe(task, method, lm, self._run.describing.num_threads)
        epochs = self._run.compared.epochs
        return self._bench.learn(task, method, **({} if epochs is None else {"epochs": epochs}))

    @cached_property
    def _datasets(self) -> Mapping[str, Dataset]:
        return {each.name: each for each in find_datasets(self._run.data, self._run.files.runs)}

    @cached_property
    def _method(self) -> Method:
        return make_method(self._run)

    @cached_property
    def _lm(self) -> dspy.LM:
        return make_lm(self._run)

    @property
    def _bench(self) -> Bench:
        return _bench(self._run.encoder, self._run.files.runs)

    def _task_of(self, name: str, seed: int) -> Task:
        # Those of a data set share its lists and its test images.
        if self._opened is None or self._opened[0] != name:
            self._opened, self._task = (name, self._datasets[name].open()), None
        if self._task is None or self._task[1].seed != seed:
            self._task = name, self._opened[1](seed)
        return self._task[1]


@lru_cache(maxsize=1)
def tasks_of(run: BenchmarkOptions) -> Tasks:
    """The tasks of these options; in a process that does one after the other, the same again."""
    return Tasks(run)


@lru_cache(maxsize=1)
def _bench(encoder: EncoderOptions, runs: Path) -> Bench:
    return Bench(load_embedder(encoder), runs)


def fixed_texts(dataset: Dataset) -> dict[str, str]:
    """The prompts that nothing searched, by row; several lines are one ensemble."""
    texts = {
        HAND_WRITTEN: dataset.template.text,
        GENERIC: DEFAULT_TEMPLATE.text,
        ENSEMBLE: "\n".join(make(SLOT) for make in open_clip.OPENAI_IMAGENET_TEMPLATES),
    }
    if dataset.name in POSTER.best_prompts:
        texts[POSTER_PROMPT] = POSTER.best_prompts[dataset.name]
    return texts
