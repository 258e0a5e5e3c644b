"""The outcomes as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.teleprompters.outcomes import REFERENCE, Outcomes


def markdown(outcomes: Outcomes, written: Mapping[str, Any]) -> str:
    """Write the table, where it comes from, and how to read it.

    Args:
        outcomes: all outcomes.
        written: what the JSON file holds.
    """
    settings, origin = written["settings"], written["provenance"]
    rows = [_row(name, written["optimizers"][name]) for name in outcomes]
    told = "every optimizer told about the images" if settings["told"] else "each as it comes"
    changes = " with uncommitted changes" if origin["uncommitted_changes"] else ""
    return "\n".join(
        [
            f"# Teleprompters at {settings['budget']} calls of `{settings['lm']}`",
            "",
            f"Data `{settings['data']}`, {settings['shots']} shot(s), {told}; seeds "
            f"{', '.join(map(str, settings['seeds']))}; encoder `{settings['clip']}`. "
            f"`{origin['command']}`, {origin['date']}, commit {origin['commit']}{changes}.",
            "",
            "| optimizer | base | novel | H | "
            f"{REFERENCE} is better in H by (95 %) | H by accuracy alone | than that by | "
            "H of five | with five by | calls | tokens | "
            "templates tried | seconds |",
            f"|{'---|' * 13}",
            *rows,
            *(_failed(one) for one in written["failed"]),
            "",
            "H is the mean over seeds of the harmonic mean of base and novel accuracy on unseen "
            "images. All optimizers are judged by the same rule, IPO's: of the templates they "
            "tried whose training accuracy is within two standard errors of the highest, the one "
            "with the lowest loss; `H of five` is that of the best five together, by the same "
            "order. "
            "`H by accuracy alone` is by what DSPy's optimizers keep, the first with the highest "
            "training accuracy, and IPO's H is compared with it as well. The interval "
            "is a paired bootstrap over seeds, each with test images of its own on the demo; on a "
            "dataset, over seeds and images. Calls are completions; an optimizer that ends early "
            "begins again with another seed. Controls make no calls: they try as many templates.",
            "",
        ]
    )


def _failed(one: Mapping[str, Any]) -> str:
    why = " ".join(one["why"].split()).replace("|", "/")
    return f"| {one['optimizer']} | failed with seed {one['seed']}: {why} |{' |' * 11}"


def _row(name: str, summary: Mapping[str, Any]) -> str:
    cells = [
        name,
        *(f"{summary[key]:.1f}" for key in ("base", "novel", "h")),
        _interval(summary.get("reference_minus_this")),
        f"{summary['accuracy_h']:.1f}",
        _interval(summary.get("choices_differ")),
        f"{summary['ensemble_h']:.1f}",
        _interval(summary.get("ensembles_differ")),
        f"{summary['calls']:.0f}",
        f"{summary['tokens']}",
        f"{summary['tried']:.0f}",
        f"{summary['seconds']:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def _interval(difference: Mapping[str, float] | None) -> str:
    if difference is None:
        return ""
    return f"{difference['mean']:+.1f} ({difference['low']:+.1f} to {difference['high']:+.1f})"
