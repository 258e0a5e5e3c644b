"""The command line: `ipo-dspy`, or `python -m ipo_dspy`."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    try:
        from ipo_dspy.cli.app import main as run
    except KeyboardInterrupt:
        # Loading takes long enough to be stopped, and nothing was begun.
        raise SystemExit(130) from None
    run(arguments)
