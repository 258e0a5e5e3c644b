"""Class names: what a class is called where it is stored, and the text that CLIP reads."""

from __future__ import annotations

import html
import json
import logging
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ipo_dspy.errors import ArgumentError, DataError
from ipo_dspy.images.text_file import read_text
from ipo_dspy.records import hidden_name

logger = logging.getLogger(__name__)

LONGEST = 1000
"""Characters of a class name; no encoder reads as many, and counting their tokens takes long."""

Names = Mapping[str, str] | str | os.PathLike[str]


class TwinName(str):
    """A class name that reads like another of its list, and stays a class of its own on purpose.

    Published lists have such: two classes of ImageNet are called `crane`.
    """

    __slots__ = ()


def checked_classnames(names: Iterable[Any]) -> tuple[str, ...]:
    """Give class names as a tuple, once it is clear that a classifier can tell them apart.

    Raises:
        ArgumentError: they are no list, there are none, one is no text, empty, too long or has a
            hidden character, or two read alike for CLIP: letter case, `_`, blanks, HTML entities
            and the form of accents aside.
    """
    if isinstance(names, str | bytes):
        raise ArgumentError(f"Expected a list of class names, got the single text {names!r}.")
    if isinstance(names, set | frozenset | Mapping):
        raise ArgumentError(
            f"Expected a list of class names, got a {type(names).__name__}; their order is the "
            "order of the logits, so give a list or a tuple."
        )
    listed = tuple(names)
    if not listed:
        raise ArgumentError("Expected at least one class name, got none.")
    for index, name in enumerate(listed):
        if not isinstance(name, str):
            raise ArgumentError(
                f"Class name number {index} is {name!r}, a {type(name).__name__}; give every "
                "class a name in words, which CLIP can read."
            )
        if len(name) > LONGEST:
            raise ArgumentError(
                f"Class name number {index}, '{name[:40]}...', has {len(name):,} characters; give "
                f"every class a name of at most {LONGEST:,}."
            )
        if not reading(name):
            raise ArgumentError(f"Class name number {index} is empty; give every class a name.")
        if hidden := hidden_name(name):
            raise ArgumentError(
                f"Class name number {index}, {name!a}, has the hidden character {hidden}; take it "
                "out."
            )
    _refuse_alike(listed)
    return listed


def _refuse_alike(names: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name in names:
        if isinstance(name, TwinName):
            continue
        other = seen.get(reading(name))
        if other == name:
            raise ArgumentError(f"The class name {name!r} comes twice; class names must differ.")
        if other is not None:
            raise ArgumentError(
                f"The class names {other!r} and {name!r} read alike for CLIP, so that one of them "
                "could never be found; rename one, or merge the classes."
            )
        seen[reading(name)] = name


def saved_classnames(names: Any) -> tuple[str, ...]:
    """Give class names that a program was saved with; those that read alike stay as they were.

    Raises:
        ArgumentError: they are no list of different texts.
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ArgumentError(
            f"Expected a list of class names in the saved program, got {names!r:.80}."
        )
    if len(set(names)) < len(names):
        raise ArgumentError("The saved program has one class name twice; class names must differ.")
    return checked_classnames(with_twins(names))


def with_twins(names: Iterable[str]) -> tuple[str, ...]:
    """Mark names that read like an earlier one as classes of their own."""
    seen: set[str] = set()
    marked = []
    for name in names:
        marked.append(TwinName(name) if reading(name) in seen else name)
        seen.add(reading(name))
    return tuple(marked)


def reading(name: str) -> str:
    """What CLIP reads of a class name: names that give the same text cannot be told apart."""
    text = html.unescape(html.unescape(name.replace("_", " ")))
    visible = "".join(c for c in text if unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFC", " ".join(visible.split())).casefold()


def display_names(classes: Sequence[str], names: Names | None = None) -> dict[str, str]:
    """The text that each class is called by, in the order of `classes`.

    Args:
        classes: what the classes are called where they are stored, such as folder names.
        names: text by class; a class without an entry keeps its own name, with `_` read as a
            space. Or a file of them (see `read_classnames`), which must have every class.

    Raises:
        DataError: there are fewer than two classes, a text is empty, two read alike for CLIP, or
            `names` does not belong to the classes.
    """
    given = _given(classes, names)
    display = [
        (stored, given[stored] if stored in given else _own_name(stored)) for stored in classes
    ]
    _check_distinct(display)
    return dict(display)


def read_classnames(path: str | os.PathLike[str]) -> dict[str, str]:
    """Display text by class, from a file, in its order.

    Either a JSON object (`.json`), `{"n02123045": "tabby cat"}`, or lines of a class and its text
    with a tab between them, or where no line has a tab with the first blank between them:
    `n02123045 tabby cat`. Empty lines do not count. UTF-8, or any encoding that `read_text` knows.

    Raises:
        DataError: the file is missing, empty or of another form, or names a class twice.
    """
    file = Path(path)
    text = read_text(file)
    if file.suffix.lower() == ".json":
        return _names_from_json(file, text)
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), start=1)]
    separator = "\t" if any("\t" in line for _, line in lines) else " "
    names: dict[str, str] = {}
    for number, line in lines:
        if not line:
            continue
        stored, _, name = (part.strip() for part in line.partition(separator))
        if not name:
            raise DataError(
                f"line {number} of {file} needs a class and its name, with a "
                f"{'tab' if separator == chr(9) else 'tab or a blank'} between them"
            )
        if stored in names:
            raise DataError(f"line {number} of {file} names the class {stored!r} once more")
        names[stored] = name
    return _not_empty(file, names)


def _names_from_json(file: Path, text: str) -> dict[str, str]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"{file} names the class {twice!r} twice")
        return content

    try:
        content = json.loads(text, object_pairs_hook=once)
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{file} is not valid JSON ({error})") from error
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise DataError(f"{file} must hold one JSON object of classes to class names")
    return _not_empty(file, content)


def _not_empty(file: Path, names: dict[str, str]) -> dict[str, str]:
    if not names:
        raise DataError(f"{file} names no classes; write a class and its name a line")
    return names


def _given(classes: Sequence[str], names: Names | None) -> Mapping[str, str]:
    if names is None or isinstance(names, Mapping):
        given = names or {}
    else:
        given = read_classnames(names)
        lacking = [stored for stored in classes if stored not in given]
        if lacking and len(lacking) < len(classes):
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise DataError(
                f"{os.fspath(names)} names {len(classes) - len(lacking)} of {len(classes)} "
                f"classes; {lacking[0]!r}{more} have no name in it. Write a line for every class, "
                "with a tab between class and name where the class has blanks"
            )
    if given and not any(stored in given for stored in classes):
        raise DataError(
            f"the class names given are for {next(iter(given))!r} and others, "
            f"but the classes are {', '.join(map(repr, classes[:3]))} ...; none of them agree"
        )
    return given


def _own_name(stored: str) -> str:
    """A class's own name as text, `_` read as a space; folder names may be in any encoding."""
    try:
        stored.encode()
        text = stored
    except UnicodeEncodeError:
        text = os.fsencode(stored).decode("cp1252", "replace")
        logger.warning(
            "The class name %a is not UTF-8; it is read as %r. Rename it if that is wrong.",
            stored,
            text,
        )
    return text.replace("_", " ").strip()


def _check_distinct(display: Sequence[tuple[str, str]]) -> None:
    if not display:
        raise DataError("there are no labelled images; classification needs at least two classes")
    if len(display) == 1:
        raise DataError(
            f"there is one class only, {display[0][0]!r}; classification needs at least two"
        )
    seen: dict[str, str] = {}
    for stored, name in display:
        text = reading(name)
        if not text:
            raise DataError(f"the class {stored!r} has an empty name; rename it")
        if hidden := hidden_name(name):
            raise DataError(
                f"the class {stored!a} has the hidden character {hidden} in its name; rename it, "
                "or give it another name with names={...} or --class-names"
            )
        if text in seen:
            raise DataError(
                f"the classes {seen[text]!r} and {stored!r} both read {name!r}; "
                "rename one, or merge them"
            )
        seen[text] = stored


def check_several(names: Sequence[str]) -> None:
    """Check that there is something to tell apart.

    Raises:
        ArgumentError: there is one class.
    """
    if len(names) < 2:
        raise ArgumentError(
            f"There is one class name, {names[0]!r}; give at least two, for every image would be "
            "found to show the one."
        )
