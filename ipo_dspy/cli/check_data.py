"""`ipo-dspy check-data`: which benchmark datasets are there, and how to get the others."""

from __future__ import annotations

from pathlib import Path

from ipo_dspy.datasets import check_data as check
from ipo_dspy.datasets import describe_states
from ipo_dspy.terminal.output import results, stage


def check_data(root: Path, /) -> None:
    """Say of each benchmark dataset what is there, what is missing, and what to type to get it.

    Args:
        root: the folder that holds the datasets' folders, such as imagenet and oxford_flowers.
    """
    with stage(f"Looking through {root}"):
        states = check(root)
    for line in describe_states(states):
        # Among the lines are commands to copy.
        results.print(line, soft_wrap=True)
