"""Run the command line: `python -m ipo_dspy.cli`."""

from ipo_dspy.cli import main

main()
