"""One HTML file about a program: what was found, how good it is, and how it came about."""

from __future__ import annotations

import base64
import hashlib
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ipo_dspy.exports.base import Found, needs_report
from ipo_dspy.exports.course import curve, lineage, ranked
from ipo_dspy.exports.gains import gains
from ipo_dspy.exports.photographs import MOST_SHOWN, Described, changes, confusions
from ipo_dspy.exports.usage import Way
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.prompts.wording import NOTHING_KNOWN
from ipo_dspy.records import visible
from ipo_dspy.scoring.comparison import Comparison, Verdict, h_of, sides, verdict
from ipo_dspy.search.results import IPOResults

PACKAGES = ("ipo-dspy", "dspy", "torch", "open_clip_torch", "transformers")
"""Packages whose versions are stated."""
MOST_RANKED = 50
"""Most prompts that stand best first; a table below has all."""
MOST_CLASSES = 400
"""Most classes in the tables of them, which share them."""
MOST_TRIALS = 600
"""Most prompts in the table of all, the last ones."""
MOST_CHANGED = 40
"""Most images that changed in one direction, of all sets together."""
MOST_PARTS = 10
"""Most sets of images that are shown in detail."""
MOST_ROWS = 200
"""Most remarks, settings and counts."""
LONGEST = 20_000
"""Characters of any text."""
LONGEST_IN_TABLE = 300
"""Characters of a text of which a table has many."""
SECONDS_BETWEEN = 10
"""An open page of a search that goes on is loaded anew after so long."""


@dataclass(frozen=True)
class Report:
    """What a report tells.

    Attributes:
        title: of the page.
        results: of the search; None where none is known.
        comparisons: of the first prompt and the found one on unseen images; may be empty.
        settings: names and values that the run was made with; no secrets.
        remarks: sentences that a reader of the figures should know.
        is_free: whether the prompt model runs on this machine, where no call costs anything.
        prompt: what was found; empty takes the best trial of the search.
        described: images with what the prompt model was told of them.
        counts: how many images were read, left out, searched on, by name.
        ways: lines to copy that use the prompt.
        made: when, as text.
        running: how far a search is that still goes on; empty where it is over.
        stopped: why a search ended before its time; empty where it did not.
    """

    title: str
    results: IPOResults | None = None
    comparisons: Sequence[Comparison] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    is_free: bool = False
    prompt: str = ""
    described: Sequence[Described] = ()
    counts: Mapping[str, str] = field(default_factory=dict)
    ways: Sequence[Way] = ()
    made: str = ""
    running: str = ""
    stopped: str = ""

    @property
    def found(self) -> str:
        """The prompt that the page is about."""
        if self.prompt or self.results is None:
            return self.prompt
        return self.results.best.text

    @property
    def cost(self) -> str:
        """What the calls of the prompt model cost; unknown is not zero."""
        if self.is_free:
            return "none, the model runs on this machine"
        dollars = None if self.results is None else self.results.spent.dollars
        return "unknown" if dollars is None else f"{dollars:.4f} dollars"

    @property
    def verdict(self) -> Verdict:
        """Whether the found prompt is better than the first one."""
        if self.results is not None:
            kept = self.results.best.text == self.results.trials[0].text
        else:
            kept = all(c.before.text == c.after.text for c in self.comparisons)
        return verdict(self.comparisons, kept=kept)

    @property
    def tokens(self) -> str:
        """How many tokens the prompt model read and wrote."""
        tokens = None if self.results is None else self.results.spent.tokens
        return "unknown" if tokens is None else f"{tokens:,}"


class ReportExporter:
    """Writes a report as one HTML file of bounded size, which loads nothing and nobody can add to.

    Pictures are in it, small; the one script copies texts.
    """

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
    environment.filters["short"] = _short
    results = report.results
    trials = () if results is None else results.trials
    in_detail = report.comparisons[:MOST_PARTS]
    share = max(1, len(in_detail))
    style, script = _part("report.css"), _part("report.js")
    return environment.get_template(
        "report.html.jinja"
    ).render(
        report=report,
        style=Markup(style),  # nosec B704 - a file of this package
        script=Markup(script),  # nosec B704 - a file of this package
        policy=Markup(_policy(style, script)),  # nosec B704 - a file of this package
        seconds=SECONDS_BETWEEN,
        learned=learned,
        results=results,
        settings={**(results.settings if results else {}), **report.settings},
        gains=gains(report.comparisons),
        figures=_figures(report.comparisons),
        counts=Counter(trial.state.value for trial in trials),
        curves=[curve(results, "accuracy"), curve(results, "loss")] if results else [],
        lineage=lineage(results) if results else [],
        ranked=ranked(results, MOST_RANKED) if results else [],
        trials=trials[-MOST_TRIALS:],
        classes=[(c, per_class(c, MOST_CLASSES // share)) for c in in_detail],
        changes=[(c, changes(c, min(MOST_SHOWN, MOST_CHANGED // share))) for c in in_detail],
        confusions=[(c, confusions(c)) for c in in_detail],
        most_rows=MOST_ROWS,
        class_texts=_class_texts(results) if results else {},
        versions={"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
    )


def _class_texts(results: IPOResults) -> dict[str, str]:
    """What was said of each class, one text a line."""
    program = results.described
    if not isinstance(program, CLIPClassifier):
        return {}
    return {name: "\n".join(texts) or NOTHING_KNOWN for name, texts in program.class_texts.items()}


def _shown(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return _short(value, LONGEST)
    return value


def _short(text: object, most: int = LONGEST_IN_TABLE) -> str:
    """Cut a text, after hidden characters became escapes."""
    shown = visible(str(text)[:most])[:most]
    return shown if len(str(text)) <= most else f"{shown} ..."


def _part(name: str) -> str:
    return (files("ipo_dspy.exports") / name).read_text("utf-8")


def _policy(style: str, script: str) -> str:
    """A content security policy that lets in this style and this script, and no others."""
    allowed = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
        for text in (style, script)
    ]
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{allowed[0]}'; "
        f"script-src 'sha256-{allowed[1]}'; base-uri 'none'; form-action 'none'"
    )


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


class ClassGain(NamedTuple):
    """The accuracy of one class in percent, with the first prompt and with the found one."""

    name: str
    before: float
    after: float

    @property
    def gain(self) -> float:
        """What the found prompt adds, in points."""
        return self.after - self.before


def per_class(comparison: Comparison, most: int) -> list[ClassGain]:
    """Compare the classes of one part, the largest gain first; of too many, both ends."""
    before, after = comparison.before.score.per_class, comparison.after.score.per_class
    classes = [ClassGain(name, before[name], after[name]) for name in after]
    classes.sort(key=lambda row: (-row.gain, row.name))
    return classes if len(classes) <= most else classes[: most // 2] + classes[-(most // 2) :]
