"""Puts the commands together, and turns errors into one sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from ipo_dspy import __version__
from ipo_dspy.cli.cache import cache
from ipo_dspy.cli.check_data import check_data
from ipo_dspy.cli.completion import completion
from ipo_dspy.cli.config import read_config
from ipo_dspy.cli.describe import describe
from ipo_dspy.cli.embed import embed
from ipo_dspy.cli.evaluate import compare, evaluate
from ipo_dspy.cli.export import export
from ipo_dspy.cli.optimize import optimize
from ipo_dspy.cli.plan import plan
from ipo_dspy.cli.predict import predict
from ipo_dspy.cli.presets import presets
from ipo_dspy.cli.runs import runs
from ipo_dspy.terminal.command import run_app

app = App(
    name="ipo-dspy",
    help="Search better, readable CLIP prompts for your images.",
    version=__version__,
)
for command in (
    *(optimize, predict, plan, runs, compare, evaluate),
    *(describe, embed, export, check_data, presets, completion),
):
    app.command(command)
app.command(cache)


# What stands behind `--` is the commands' affair.
app.meta.end_of_options_delimiter = ""


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config: Annotated[
        Path | None,
        Parameter(help="TOML file of options, a table for each command; those given here count."),
    ] = None,
) -> None:
    app.config = () if config is None else (read_config(config, app),)
    try:
        app(tokens, exit_on_error=False, print_error=False)
    finally:
        app.config = ()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; see `run_app` for what it ends with.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    run_app(app.meta, app.name[0], arguments)
