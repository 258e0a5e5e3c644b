"""`--config FILE`: options from a file."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path

from cyclopts import App
from cyclopts.config import Toml

from ipo_dspy.errors import ArgumentError
from ipo_dspy.images.text_file import read_text


def read_config(file: Path, app: App) -> Toml:
    """Read a TOML file that has a table of options for each command.

    No file is taken unasked: one that lies among somebody's images could name a server of theirs.

    Args:
        file: such as `[optimize]` and then `steps = 10`, an option a line.
        app: whose commands there may be.

    Raises:
        ArgumentError: it is no TOML (the message says which line), or names no command.
        DataError: it cannot be read.
    """
    try:
        tables = tomllib.loads(read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(f"{file} is no TOML: {error}.") from error
    commands = sorted(name for name in app if not name.startswith("-"))
    for name, table in tables.items():
        if name not in commands or not isinstance(table, dict):
            near = get_close_matches(name, commands, n=1)
            meant = f"; did you mean [{near[0]}]?" if near and near[0] != name else "."
            raise ArgumentError(
                f"{file} has {name!r} outside the table of a command{meant} Write [optimize] or "
                "another command, and its options below."
            )
    return Toml(file, must_exist=True, search_parents=False)
