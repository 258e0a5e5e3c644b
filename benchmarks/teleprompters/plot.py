"""H of the best template so far against calls of the language model, as a picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.teleprompters.outcomes import REFERENCE, Outcomes


def plot(outcomes: Outcomes, file: Path) -> None:
    """Draw one line for each optimizer, the mean over seeds."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    # Without a date and random ids, the same outcomes give the same file.
    with plt.rc_context({"svg.hashsalt": "ipo-dspy", "font.size": 9}):
        figure, axes = plt.subplots(figsize=(8, 4.8), layout="constrained")
        curves = {
            name: np.mean([outcome.best_so_far for outcome in of_seeds], axis=0)
            for name, of_seeds in outcomes.items()
        }
        best_first = sorted(curves.items(), key=lambda item: -item[1][-1])
        for index, (name, curve) in enumerate(best_first):
            is_reference = name == REFERENCE
            axes.plot(
                curve,
                label=f"{name} ({curve[-1]:.1f})",
                drawstyle="steps-post",
                color="black" if is_reference else plt.get_cmap("tab10")(index % 10),
                linewidth=2.5 if is_reference else 1.3,
                linestyle=("-", "--", ":")[index // 5],
                zorder=3 if is_reference else 2,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("calls of the language model")
        axes.set_ylabel("H on unseen images, in percent")
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right upper", frameon=False)
        figure.savefig(file, metadata={"Date": None})
        plt.close(figure)
