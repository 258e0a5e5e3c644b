"""The command line: `ipo-dspy`, or `python -m ipo_dspy`."""

from ipo_dspy.cli.app import main

__all__ = ["main"]
