"""Run the command line: `python -m ipo_dspy`."""

import runpy

runpy.run_module("ipo_dspy.cli", run_name="__main__")
