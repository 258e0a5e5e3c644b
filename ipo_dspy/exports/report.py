"""One HTML file about a search: what was found, how good it is, and how it came about."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from importlib.metadata import version
from pathlib import Path
from typing import Literal, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from ipo_dspy.exports.base import Found, needs_report
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.prompts.wording import NOTHING_KNOWN
from ipo_dspy.records import Trial, visible
from ipo_dspy.scoring.comparison import Comparison, Verdict, h_of, sides, verdict
from ipo_dspy.search.results import IPOResults

PACKAGES = ("ipo-dspy", "dspy", "torch", "open_clip_torch", "transformers")
"""Packages whose versions are stated."""
_WIDTH, _HEIGHT = 640.0, 180.0


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Attributes:
        title: of the page.
        results: of the search.
        comparisons: of the first prompt and the found one on unseen images; may be empty.
        settings: names and values that the run was made with; no secrets.
        remarks: sentences that a reader of the figures should know.
        is_free: whether the prompt model runs on this machine, where no call costs anything.
    """

    title: str
    results: IPOResults
    comparisons: Sequence[Comparison]
    settings: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    is_free: bool = False

    @property
    def cost(self) -> str:
        """What the calls of the prompt model cost; unknown is not zero."""
        if self.is_free:
            return "none, the model runs on this machine"
        dollars = self.results.spent.dollars
        return "unknown" if dollars is None else f"{dollars:.4f} dollars"

    @property
    def verdict(self) -> Verdict:
        """Whether the found prompt is better than the first one."""
        results = self.results
        return verdict(self.comparisons, kept=results.best.text == results.trials[0].text)

    @property
    def tokens(self) -> str:
        """How many tokens the prompt model read and wrote."""
        tokens = self.results.spent.tokens
        return "unknown" if tokens is None else f"{tokens:,}"


class ReportExporter:
    """Writes a report as one HTML file without scripts and without links to other files."""

    suffix = ".html"

    def write(self, path: Path, found: Found) -> None:
        """Write the report; see `Exporter.write`.

        Raises:
            ArgumentError: it is not known how the program was found.
        """
        report = needs_report(found, "The report")
        program = found.program
        learned = "" if program.predict.learned is None else str(program.nearest_words())
        path.write_text(render(report, learned), encoding="utf-8")


def render(report: Report, learned: str = "") -> str:
    """Make the HTML text of a report; every text in it is escaped.

    Args:
        report: what it tells.
        learned: the words nearest to vectors that stand beside the prompt; empty where there are
            none.
    """
    environment = Environment(
        loader=PackageLoader("ipo_dspy.exports", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    results = report.results
    return environment.get_template("report.html.jinja").render(
        report=report,
        learned=learned,
        results=results,
        found=results.best,
        figures=_figures(report.comparisons),
        counts=Counter(trial.state.value for trial in results.trials),
        curves=[curve(results, "accuracy"), curve(results, "loss")],
        lineage=lineage(results),
        class_texts=_class_texts(results),
        classes=[(comparison, per_class(comparison)) for comparison in report.comparisons],
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    )


def _class_texts(results: IPOResults) -> dict[str, str]:
    """What was said of each class, one text a line."""
    program = results.described
    if not isinstance(program, CLIPClassifier):
        return {}
    return {name: "\n".join(texts) or NOTHING_KNOWN for name, texts in program.class_texts.items()}


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) else value


class Figures(NamedTuple):
    """One row of the table of accuracies: a prompt, its accuracy and loss by part, and H."""

    prompt: str
    accuracies: list[float]
    losses: list[float]
    h: float | None


def _figures(comparisons: Sequence[Comparison]) -> list[Figures]:
    return [
        Figures(
            side[0].label,
            [evaluation.score.accuracy for evaluation in side],
            [evaluation.score.loss for evaluation in side],
            h_of({c.part: e.score for c, e in zip(comparisons, side, strict=True)}),
        )
        for side in sides(comparisons)
    ]


class Curve(NamedTuple):
    """A training score over the steps, in the units of an SVG view box.

    `dots` are the scored prompts, `line` the points of the best prompt so far; `lowest` and
    `highest` are the values at the lower and the upper edge.
    """

    name: str
    dots: list[tuple[float, float]]
    line: str
    lowest: float
    highest: float
    last_step: int
    width: float = _WIDTH
    height: float = _HEIGHT


def curve(results: IPOResults, name: Literal["accuracy", "loss"]) -> Curve:
    """Lay out a training score over the steps; the loss is the one that ranks."""

    def points(trials: Sequence[Trial]) -> list[tuple[float, float]]:
        return [
            (trial.step, score.accuracy if name == "accuracy" else results.ranking.loss(score))
            for trial in trials
            if (score := trial.score) is not None
        ]

    values, best = points(results.trials), points(bests(results))
    last = max(trial.step for trial in results.trials)
    lowest, highest = min(value for _, value in values), max(value for _, value in values)
    span = (highest - lowest) or 1.0

    def place(step: float, value: float) -> tuple[float, float]:
        x = _WIDTH * step / max(last, 1)
        return round(x, 1), round(_HEIGHT * (1 - (value - lowest) / span), 1)

    corners: list[tuple[float, float]] = []
    for number, (step, value) in enumerate(best):
        if number:
            corners.append(place(step, best[number - 1][1]))
        corners.append(place(step, value))
    corners.append(place(last, best[-1][1]))
    return Curve(
        name,
        [place(*point) for point in values],
        " ".join(f"{x},{y}" for x, y in corners),
        lowest,
        highest,
        last,
    )


def bests(results: IPOResults) -> list[Trial]:
    """Pick the trials that were better than all before them, in the order they were made."""
    found: list[Trial] = []
    key = results.ranking.key
    for trial in results.trials:
        if trial.score is not None and (not found or key(trial) > key(found[-1])):
            found.append(trial)
    return found


Change = Literal["same", "new", "gone"]


def lineage(results: IPOResults) -> list[tuple[Trial, list[tuple[Change, str]]]]:
    """Pair each successive best with its words, compared with those of the best before it."""
    line = bests(results)
    texts = [trial.text for trial in line]
    return [
        (trial, word_changes(before, trial.text))
        for trial, before in zip(line, [texts[0], *texts], strict=False)
    ]


def word_changes(before: str, after: str) -> list[tuple[Change, str]]:
    """Compare two texts word by word: runs of words that stayed, came or went."""
    old, new = before.split(), after.split()
    changes: list[tuple[Change, str]] = []
    matcher = SequenceMatcher(a=old, b=new, autojunk=False)
    for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if kind == "equal":
            changes.append(("same", " ".join(new[new_from:new_to])))
            continue
        if old_to > old_from:
            changes.append(("gone", " ".join(old[old_from:old_to])))
        if new_to > new_from:
            changes.append(("new", " ".join(new[new_from:new_to])))
    return changes


class ClassGain(NamedTuple):
    """The accuracy of one class in percent, with the first prompt and with the found one."""

    name: str
    before: float
    after: float

    @property
    def gain(self) -> float:
        """What the found prompt adds, in points."""
        return self.after - self.before


def per_class(comparison: Comparison) -> list[ClassGain]:
    """Compare the classes of one part, the largest gain first."""
    before, after = comparison.before.score.per_class, comparison.after.score.per_class
    classes = [ClassGain(name, before[name], after[name]) for name in after]
    return sorted(classes, key=lambda row: (-row.gain, row.name))
