"""Puts the commands together, and turns errors into one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from cyclopts import App

from ipo_dspy import __version__
from ipo_dspy.cli.cache import cache
from ipo_dspy.cli.check_data import check_data
from ipo_dspy.cli.describe import describe
from ipo_dspy.cli.embed import embed
from ipo_dspy.cli.evaluate import compare, evaluate
from ipo_dspy.cli.export import export
from ipo_dspy.cli.optimize import optimize
from ipo_dspy.cli.plan import plan
from ipo_dspy.cli.predict import predict
from ipo_dspy.cli.presets import presets
from ipo_dspy.cli.runs import runs
from ipo_dspy.terminal.command import as_command

app = App(
    name="ipo-dspy",
    help="Search better, readable CLIP prompts for your images.",
    version=__version__,
)
for command in (
    *(optimize, predict, plan, runs, compare, evaluate),
    *(describe, embed, export, check_data, presets),
):
    app.command(command)
app.command(cache)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exits with 1 after an error and with 130 after Ctrl-C.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    with as_command(app.name[0]):
        app(arguments)
