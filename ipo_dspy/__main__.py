"""Run the command line: `python -m ipo_dspy`."""

from ipo_dspy.cli.app import main

main()
