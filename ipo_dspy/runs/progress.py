"""A bar that shows how far something is, in a terminal and in a notebook; quiet anywhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm import tqdm


def progress_bar(title: str, total: int, unit: str, shown: bool | None = None) -> tqdm[Any]:
    """Make a bar, to be used as a context and moved on by `update`.

    Args:
        title: what is being done.
        total: how many units there are.
        unit: what they are, in the singular.
        shown: None shows it where a person looks on: on a terminal and in a notebook.
    """
    # In a notebook this is the notebook's own kind of bar.
    from tqdm.auto import tqdm

    visible = is_watched() if shown is None else shown
    return tqdm(desc=title, total=total, unit=f" {unit}", disable=not visible, leave=False)


def is_watched() -> bool:
    """Tell whether a person looks on: standard error is a terminal, or this runs in a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return sys.stderr.isatty() or type(shell).__name__ == "ZMQInteractiveShell"
