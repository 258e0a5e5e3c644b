"""`--config FILE`: options from a file."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from cyclopts import App
from cyclopts.config import Toml

from ipo_dspy.errors import ArgumentError
from ipo_dspy.errors.arguments import shown
from ipo_dspy.images.text_file import read_text


def read_config(file: Path, app: App) -> Toml:
    """Read a TOML file that has a table of options for each command.

    No file is taken unasked: one that lies among somebody's images could name a server of theirs.

    Args:
        file: such as `[optimize]` and then `steps = 10`, an option a line.
        app: whose commands there may be.

    Raises:
        ArgumentError: it is no TOML (the message says which line), names no command, or gives a
            value of another kind than an option takes.
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
        for option, value in table.items():
            _check_type(file, app[name], name, option, value)
    return Toml(file, must_exist=True, search_parents=False)


_TAKEN: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text in quotes"),
    Path: ((str,), "a path in quotes"),
}


def _check_type(file: Path, command: App, name: str, option: str, value: Any) -> None:
    """Refuse a value that would be read as something else than it is; unknown options pass."""
    for argument in command.assemble_argument_collection():
        if f"--{option.replace('_', '-')}" not in argument.names:
            continue
        kind = next((k for k in (argument.hint, *get_args(argument.hint)) if k in _TAKEN), str)
        taken, words = _TAKEN[kind]
        is_several = isinstance(value, list) and Ellipsis in get_args(argument.hint)
        for each in value if is_several else [value]:
            if not isinstance(each, taken) or (isinstance(each, bool) and kind is not bool):
                raise ArgumentError(
                    f"{file}: {option} of [{name}] must be {words}, got {shown(each)}."
                )
