"""The course of a search: training loss and accuracy over steps, as a picture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from benchmarks.ablations.comparison import COMMAND
from benchmarks.base_to_novel.bench import Bench, load_embedder, make_method
from benchmarks.base_to_novel.datasets import Dataset, find_datasets
from benchmarks.base_to_novel.learning import IPO
from benchmarks.base_to_novel.options import BenchmarkOptions
from benchmarks.base_to_novel.outcomes import Found, Step, write_json, write_text
from benchmarks.base_to_novel.table import origin
from benchmarks.base_to_novel.tasks import Key, Tasks
from benchmarks.figures import NONE, aligned
from benchmarks.poster import POSTER
from benchmarks.provenance import provenance
from benchmarks.sweep import Sweep
from ipo_dspy.errors import ArgumentError, SearchStoppedError
from ipo_dspy.runs.folder import write_whole
from ipo_dspy.terminal.output import remark

SMOOTHING = 0.05
"""Width of the smoothing, as a share of all steps: the standard deviation of a Gaussian."""
_ENDS = 10
"""At most so many steps at both ends are summed up as figures."""


@dataclass(frozen=True)
class Course:
    """The steps of searches over several seeds; the first prompt is left out.

    Attributes:
        steps: their numbers.
        losses: means over all prompts of a step, in nats.
        accuracies: means over all prompts of a step, in percent.
        best_losses: of the best prompt until then, averaged over seeds.
        best_accuracies: of the best prompt until then, averaged over seeds.
    """

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    accuracies: tuple[float, ...]
    best_losses: tuple[float, ...]
    best_accuracies: tuple[float, ...]

    @classmethod
    def of(cls, found: Sequence[Found]) -> Course:
        """Take the means of what several searches went through."""
        by_step: dict[int, list[Step]] = defaultdict(list)
        for step in (step for one in found for step in one.curve if step.step > 0):
            by_step[step.step].append(step)
        steps = sorted(by_step)
        ordered = [by_step[step] for step in steps]
        # A step without a prompt that could be scored is not in a curve.
        best = [[_last(one.curve, step) for one in found] for step in steps]
        return cls(
            steps=tuple(steps),
            losses=tuple(_mean([(s.loss, s.prompts) for s in same]) for same in ordered),
            accuracies=tuple(_mean([(s.accuracy, s.prompts) for s in same]) for same in ordered),
            best_losses=tuple(fmean(s.best_loss for s in of_step) for of_step in best),
            best_accuracies=tuple(fmean(s.best_accuracy for s in of_step) for of_step in best),
        )

    @property
    def end(self) -> int:
        """How many steps at both ends are summed up."""
        return max(1, min(_ENDS, len(self.steps) // 2))


def draw_curve(run: BenchmarkOptions) -> None:
    """Search on one data set, and draw the course of the search; writes JSON, Markdown and SVG."""
    dataset = _choose(find_datasets(run.data, run.files.runs))
    bench = Bench(load_embedder(run.encoder), run.files.runs)
    method, make_task = make_method(run), dataset.open()
    found = []
    sweep: Sweep[Key] = Sweep(run.encoder)
    sweep.spread(Tasks(run.elsewhere), [(IPO, dataset.name, seed) for seed in run.data.seeds])
    for seed in run.data.seeds:
        remark(f"{dataset.name}, seed {seed}")
        if problem := sweep.problems.get((IPO, dataset.name, seed)):
            raise SearchStoppedError(problem)
        found.append(bench.search(make_task(seed), method))
    course = Course.of(found)
    if not course.steps:
        raise ArgumentError(f"No prompt that was proposed for {dataset.name} could be scored.")
    picture = run.file("curve", ".svg")
    written = {
        "provenance": provenance(COMMAND),
        "settings": run.settings,
        "complete": True,
        "dataset": dataset.name,
        "best_steps": [one.step for one in found],
        "steps": course.steps,
        "losses": [round(loss, 4) for loss in course.losses],
        "accuracies": [round(accuracy, 2) for accuracy in course.accuracies],
        "best_losses": [round(loss, 4) for loss in course.best_losses],
        "best_accuracies": [round(accuracy, 2) for accuracy in course.best_accuracies],
    }
    write_json(run.file("curve", ".json"), written)
    text = _markdown(dataset, found, course, written, picture.name)
    write_text(run.file("curve", ".md"), text)
    write_whole(picture, lambda path: plot(course, [one.step for one in found], dataset, path))
    Console().print(text, markup=False, highlight=False, soft_wrap=True)


def plot(course: Course, best_steps: Sequence[int], dataset: Dataset, file: Path) -> None:
    """Draw a dot for every step, and a smoothed line through them."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from scipy.ndimage import gaussian_filter1d

    panels = (
        ("training loss, in nats", course.losses, course.best_losses),
        ("training accuracy, in %", course.accuracies, course.best_accuracies),
    )
    # Without a date and random ids, the same outcomes give the same file.
    with plt.rc_context({"svg.hashsalt": "ipo-dspy", "font.size": 9}):
        figure, both = plt.subplots(2, sharex=True, figsize=(7, 5.5), layout="constrained")
        for axes, (label, values, best) in zip(both, panels, strict=True):
            axes.scatter(course.steps, values, s=14, alpha=0.5, label="mean of one step")
            width = max(1.0, SMOOTHING * len(values))
            axes.plot(
                course.steps, gaussian_filter1d(values, width, mode="nearest"), label="smoothed"
            )
            axes.plot(course.steps, best, color="black", linewidth=1, label="best so far")
            for number, step in enumerate(best_steps):
                label_once = "best of a search" if number == 0 else None
                axes.axvline(step, color="gray", linestyle=":", linewidth=1, label=label_once)
            axes.set_ylabel(label)
            axes.grid(alpha=0.3)
        both[0].set_title(dataset.name)
        both[1].set_xlabel("step")
        figure.legend(*both[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)


def _choose(datasets: Sequence[Dataset]) -> Dataset:
    """The poster's data set where it is among them, or else the first."""
    return next((d for d in datasets if d.name == POSTER.curve.dataset), datasets[0])


def _last(curve: Sequence[Step], step: int) -> Step:
    """The last step of a curve up to this one; all begin with step 0."""
    return [one for one in curve if one.step <= step][-1]


def _mean(weighted: Sequence[tuple[float, int]]) -> float:
    return sum(value * count for value, count in weighted) / sum(count for _, count in weighted)


def _ends(values: Sequence[float], end: int, digits: int) -> tuple[str, str]:
    return f"{fmean(values[:end]):.{digits}f}", f"{fmean(values[-end:]):.{digits}f}"


def _markdown(
    dataset: Dataset, found: Sequence[Found], course: Course, written: dict[str, Any], picture: str
) -> str:
    poster = POSTER.curve
    end = course.end
    rows = [
        ("mean loss", *_ends(course.losses, end, 3), "falls"),
        (
            "mean accuracy, %",
            *_ends(course.accuracies, end, 2),
            f"rises, between {poster.lowest_accuracy} and {poster.highest_accuracy}",
        ),
        ("loss of the best so far", *_ends(course.best_losses, end, 3), NONE),
        ("accuracy of the best so far, %", *_ends(course.best_accuracies, end, 2), NONE),
        (
            "step of the best prompt",
            "",
            ", ".join(str(f.step) for f in found),
            str(poster.best_step),
        ),
    ]
    headings = [
        dataset.name,
        f"first {end} steps",
        f"last {end} steps",
        f"poster: {poster.dataset}, {poster.steps} steps",
    ]
    return "\n".join(
        [
            "# The course of a search",
            "",
            origin(written, found),
            "",
            f"![Training loss and accuracy over steps]({picture})",
            "",
            *aligned(headings, rows),
            "",
        ]
    )
