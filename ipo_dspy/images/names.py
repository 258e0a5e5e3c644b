"""Class names: what a class is called where it is stored, and the text that CLIP reads."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from ipo_dspy.errors import DataError

Names = Mapping[str, str] | str | os.PathLike[str]


def display_names(classes: Sequence[str], names: Names | None = None) -> dict[str, str]:
    """The text that each class is called by, in the order of `classes`.

    Args:
        classes: what the classes are called where they are stored, such as folder names.
        names: text by class, or a file of it (see `read_classnames`). A class without an entry
            keeps its own name, with `_` read as a space.

    Raises:
        DataError: there are fewer than two classes, a text is empty, two read alike (letter case
            aside, as CLIP reads), or `names` speaks of none of the classes.
    """
    given = names if isinstance(names, Mapping) else read_classnames(names) if names else {}
    if given and not any(stored in given for stored in classes):
        raise DataError(
            f"the class names given are for {next(iter(given))!r} and others, "
            f"but the classes are {', '.join(map(repr, classes[:3]))} ...; none of them agree"
        )
    display = [(stored, given.get(stored, stored.replace("_", " ").strip())) for stored in classes]
    _check_distinct(display)
    return dict(display)


def read_classnames(path: str | os.PathLike[str]) -> dict[str, str]:
    """Display text by class, from a file, in its order.

    Either a JSON object, or lines of a class and its text with a tab between them, or with the
    first blank between them: `n02123045 tabby cat`.

    Raises:
        DataError: the file is missing or has another form.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the file of class names {file} cannot be read ({error})") from error
    if file.suffix.lower() == ".json":
        return _names_from_json(file, text)
    names = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        stored, _, name = line.strip().partition("\t" if "\t" in line.strip() else " ")
        if not name.strip():
            raise DataError(f"line {number} of {file} needs a class and its name")
        names[stored.strip()] = name.strip()
    return names


def _names_from_json(file: Path, text: str) -> dict[str, str]:
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{file} is not valid JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise DataError(f"{file} must hold one JSON object of classes to class names")
    return content


def _check_distinct(display: Sequence[tuple[str, str]]) -> None:
    if not display:
        raise DataError("there are no labelled images; classification needs at least two classes")
    if len(display) == 1:
        raise DataError(
            f"there is one class only, {display[0][0]!r}; classification needs at least two"
        )
    seen: dict[str, str] = {}
    for stored, name in display:
        text = unicodedata.normalize("NFC", " ".join(name.split())).casefold()
        if not text:
            raise DataError(f"the class {stored!r} has an empty name; rename it")
        if text in seen:
            raise DataError(
                f"the classes {seen[text]!r} and {stored!r} both read {name!r}; "
                "rename one, or merge them"
            )
        seen[text] = stored
