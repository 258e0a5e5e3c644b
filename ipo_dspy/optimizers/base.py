"""What every optimizer does before and after its own work: examples, a copy, a run folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from operator import index
from pathlib import Path
from typing import SupportsIndex

import dspy

from ipo_dspy.errors import ArgumentError, SearchStoppedError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.proposing.describers import Describer, NoDescriber, VocabularyDescriber
from ipo_dspy.runs.calls import interruptible
from ipo_dspy.runs.events import Sense
from ipo_dspy.runs.identity import RunIdentity
from ipo_dspy.runs.journal import Journal, NoJournal
from ipo_dspy.search.results import detach_results


def training_examples(
    student: dspy.Module, trainset: Sequence[dspy.Example] | None
) -> list[dspy.Example]:
    """Take the examples given, else those that came with the program.

    Raises:
        ArgumentError: there are none.
    """
    examples = getattr(student, "trainset", None) if trainset is None else trainset
    if not examples:
        raise ArgumentError(
            "There is no training set. Pass compile(program, trainset=[dspy.Example(image=..., "
            "label=...).with_inputs('image'), ...]) or make the program with "
            "CLIPClassifier.from_folder(...), which brings its own."
        )
    return list(examples)


def whole_seed(seed: SupportsIndex) -> int:
    """Take a seed, which may be a whole number of any size and of any library.

    Raises:
        ArgumentError: it is none.
    """
    try:
        return index(seed)
    except TypeError as error:
        raise ArgumentError(f"seed={seed!r} is no whole number; give one such as 0.") from error


def copy_to_optimize(student: dspy.Module) -> dspy.Module:
    """Copy a program, sharing its encoder, without what an earlier optimizer attached to it."""
    program = student.deepcopy()
    detach_results(program)
    return program


def find_describer(chosen: Describer | str | None, embedder: Embedder | None) -> Describer:
    """Find what describes images: what was chosen, else the encoder, which ranks visual words.

    Args:
        chosen: a describer, what names one, or None.
        embedder: of the program; None for programs without one, whose images nobody describes.

    Raises:
        ArgumentError: the name is none of a describer.
    """
    if isinstance(chosen, str):
        from ipo_dspy.proposing.describers import make_describer

        chosen = make_describer(chosen)
    if chosen is not None:
        return chosen
    return NoDescriber() if embedder is None else VocabularyDescriber(embedder)


@contextmanager
def open_run(
    run_dir: Path | None, identity: RunIdentity | None = None, sense: Sense | None = None
) -> Iterator[Journal | NoJournal]:
    """Hold the run folder, or keep nothing where there is none; Ctrl-C ends the work within.

    A `SearchStoppedError` from within gains a sentence on what was kept.

    Args:
        run_dir: the folder of the journal; None keeps nothing.
        identity: what the run is made of; needed with a folder.
        sense: what its events may say; needed with a folder.

    Raises:
        JournalError: the run folder belongs to another search or cannot be written.
    """
    if run_dir is None or identity is None or sense is None:
        journal: Journal | NoJournal = NoJournal()
    else:
        header = {"version": version("ipo-dspy"), **identity.record}
        journal = Journal(run_dir, header, identity.differences, sense)
    with journal, interruptible():
        try:
            yield journal
        except SearchStoppedError as error:
            raise SearchStoppedError(f"{error} {journal.resume_hint}") from error.__cause__
