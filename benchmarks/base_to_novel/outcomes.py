"""What a search and a test leave behind, and keeping it so that nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.figures import Figures
from benchmarks.judging import Verdict
from ipo_dspy.records import Record
from ipo_dspy.runs.folder import make_run_folder, write_whole
from ipo_dspy.runs.identity.earlier import digest

_R = TypeVar("_R", bound=Record)
_DIGITS = 10


class Counted(Record):
    """Unseen images of base and of novel classes, and how many were classified rightly."""

    base_images: int
    base_right: int
    novel_images: int
    novel_right: int

    @classmethod
    def of(cls, verdict: Verdict) -> Counted:
        """Count a verdict's images."""
        return cls(
            base_images=len(verdict.base),
            base_right=int(verdict.base.sum()),
            novel_images=len(verdict.novel),
            novel_right=int(verdict.novel.sum()),
        )

    @property
    def figures(self) -> Figures:
        """The accuracies in percent."""
        return Figures(
            100 * self.base_right / self.base_images, 100 * self.novel_right / self.novel_images
        )


class Step(Record):
    """One step on the training images; step 0 is the prompt that the search began with.

    Attributes:
        step: its number.
        prompts: how many of its prompts could be scored, at least one.
        loss: their mean loss, in nats.
        accuracy: their mean accuracy, in percent.
        best_loss: of the best prompt until then.
        best_accuracy: of the best prompt until then.
    """

    step: int
    prompts: int
    loss: float
    accuracy: float
    best_loss: float
    best_accuracy: float


class Found(Record):
    """What IPO found on one seed of a data set.

    Attributes:
        text: the best prompt.
        accuracy: on the training images, in percent.
        loss: on the training images.
        step: the one that gave it.
        passed_over: better prompts that are too long with a novel class name.
        tested: on unseen images.
        calls: of the prompt model.
        tokens: of the prompt model; None where unknown.
        dollars: of the prompt model; None where unknown.
        curve: the steps.
        commit: of the code that searched.
        described: of the best prompt with texts for each class, on unseen images; None where nobody
            asked for such.
    """

    text: str
    accuracy: float
    loss: float
    step: int
    passed_over: int
    tested: Counted
    calls: int
    tokens: int | None
    dollars: float | None
    curve: tuple[Step, ...]
    commit: str
    described: Counted | None = None


class Fixed(Record):
    """Tests of prompts that nothing searched, by their name."""

    tested: dict[str, Counted]


def remembered(
    runs: Path,
    name: str,
    facts: Mapping[str, Any],
    kind: type[_R],
    make: Callable[[Path], _R],
) -> _R:
    """Give an outcome that was kept, or make it and keep it.

    Args:
        runs: the folder of all runs.
        name: begins the name of the run's own folder.
        facts: everything that decides the outcome; other facts make another folder.
        kind: of the outcome.
        make: makes the outcome; what it keeps in the folder it is given helps it go on after a
            stop.

    Raises:
        ValueError: what was kept cannot be read, or the folder cannot be written.
    """
    parts = [json.dumps({key: facts[key]}, sort_keys=True) for key in sorted(facts)]
    folder = runs / f"{name}-{digest(parts)[:_DIGITS]}"
    file = folder / "outcome.json"
    if file.exists():
        return kind.model_validate(json.loads(file.read_text(encoding="utf-8"))["outcome"])
    make_run_folder(folder)
    outcome = make(folder)
    content = {"facts": dict(facts), "outcome": outcome.model_dump(mode="json")}
    write_json(file, content)
    return outcome


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file so that it is never seen half-written."""
    write_text(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write a text file so that it is never seen half-written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))
