"""`ipo-dspy completion`: what makes a shell complete commands and options."""

from __future__ import annotations

import sys
from typing import Literal


def completion(shell: Literal["bash", "zsh", "fish"], /) -> None:
    """Print a script that makes a shell complete commands and options.

    For bash: `ipo-dspy completion bash > ~/.local/share/bash-completion/completions/ipo-dspy`

    Args:
        shell: which one.
    """
    from ipo_dspy.cli.app import app

    # It is the name of a shell, and none is run.
    sys.stdout.write(app.generate_completion(shell=shell))  # nosec B604
