"""Reads what a DSPy request asks for, and writes an answer that DSPy can parse.

Understands the formats of DSPy's ChatAdapter and JSONAdapter, and free text.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ipo_dspy.upstream.dspy_parts import (
    COMPLETED,
    FIELD_LINE,
    JSON_OUTPUTS,
    MARKER,
    NOTE,
    OBJECTIVE,
    OUTPUT_FIELDS,
    RESPOND_WITH,
    SCHEMA,
    SECTION,
    STRUCTURE,
)

IMAGES_LOOK_LIKE = "What the training images look like:"
"""What stands on a line of its own before descriptions that are no field of a request."""


@dataclass(frozen=True)
class OutputField:
    """A field the answer must have; `note` is what DSPy says about its type, empty for text."""

    name: str
    description: str
    note: str


@dataclass(frozen=True)
class Asked:
    """One request: its output fields, its inputs by field name, and how to write the answer.

    Free text that no adapter made has no fields, and its inputs are empty.
    """

    fields: tuple[OutputField, ...]
    inputs: Mapping[str, str]
    as_json: bool
    text: str

    @classmethod
    def read(cls, system: str, user: str) -> Asked:
        """Read the system text and the last user text of a request."""
        as_json = JSON_OUTPUTS in system
        notes = _json_notes(system) if as_json else _chat_notes(system)
        _, _, listed = system.partition(OUTPUT_FIELDS)
        fields = tuple(
            OutputField(name, description, notes.get(name, ""))
            for name, _, description in FIELD_LINE.findall(listed.partition(STRUCTURE)[0])
        )
        return cls(fields, _sections(user), as_json, f"{system}\n{user}")

    @property
    def plain(self) -> str:
        """What is asked, without the format: for models that follow no format."""
        if not self.fields:
            return self.text.strip()
        _, _, objective = self.text.partition(OBJECTIVE)
        lines = [line.strip() for line in objective.partition(f"\n{SECTION}")[0].splitlines()]
        inputs = [f"{name}: {text}" for name, text in self.inputs.items() if text]
        return "\n\n".join([" ".join(line for line in lines if line), *inputs])

    def in_format(self, reply: str) -> str:
        """Give a reply the asked format if it has none and there is one text field to hold it.

        Small models often answer the question and forget the format.
        """
        has_format = "{" in reply if self.as_json else SECTION in reply
        if has_format or len(self.fields) != 1 or self.fields[0].note:
            return reply
        return self.write({self.fields[0].name: reply})

    def write(self, values: Mapping[str, Any]) -> str:
        """Write the values of all fields in the format that was asked for."""
        if self.as_json:
            return json.dumps(dict(values), ensure_ascii=False, indent=2)
        blocks = [f"{SECTION}{name} ## ]]\n{_as_text(value)}" for name, value in values.items()]
        return "\n\n".join([*blocks, COMPLETED])


def value_for(note: str, say: Callable[[], str], chance: random.Random) -> Any:
    """Make a valid value for a field with this type note; texts come from `say`."""
    if not note:
        return say()
    if note.startswith(SCHEMA):
        schema = json.loads(note.removeprefix(SCHEMA))
        return _Example(schema.get("$defs", {}), say).of(schema)
    if "one of: " in note:
        return chance.choice(note.split("one of: ", 1)[1].split("; "))
    if "True or False" in note:
        return True
    return 1 if "int value" in note else 0.5


class _Example:
    """Makes the smallest sensible value that a JSON schema allows."""

    def __init__(self, definitions: Mapping[str, Any], say: Callable[[], str]) -> None:
        self._definitions = definitions
        self._makers: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
            "string": lambda schema: say(),
            "integer": lambda schema: int(schema.get("minimum", 1)),
            "number": lambda schema: float(schema.get("minimum", 0.5)),
            "boolean": lambda schema: True,
            "null": lambda schema: None,
            "array": self._array,
            "object": self._object,
        }

    def of(self, schema: Mapping[str, Any]) -> Any:
        """Make a value; a schema without a type gets a text."""
        if "$ref" in schema:
            return self.of(self._definitions[schema["$ref"].rsplit("/", 1)[-1]])
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return schema["enum"][0]
        if "anyOf" in schema:
            return self.of(schema["anyOf"][0])
        return self._makers[schema.get("type", "string")](schema)

    def _array(self, schema: Mapping[str, Any]) -> list[Any]:
        return [self.of(schema.get("items", {})) for _ in range(max(1, schema.get("minItems", 1)))]

    def _object(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self.of(part) for name, part in schema.get("properties", {}).items()}


def _sections(user: str) -> dict[str, str]:
    pieces = MARKER.split(user)
    sections = dict(zip(pieces[1::2], pieces[2::2], strict=True))
    if sections:
        last = list(sections)[-1]
        sections[last] = sections[last].partition(RESPOND_WITH)[0]
    return {name: text.strip() for name, text in sections.items()}


def _chat_notes(system: str) -> dict[str, str]:
    notes = re.findall(r"^\{(\w+)\} +" + re.escape(NOTE) + "(.*)$", system, re.MULTILINE)
    return dict(notes)


def _json_notes(system: str) -> dict[str, str]:
    _, _, structure = system.partition(JSON_OUTPUTS)
    fields, _ = json.JSONDecoder().raw_decode(structure.lstrip())
    return {name: str(text).partition(NOTE)[2] for name, text in fields.items()}


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def listed_names(text: str) -> Sequence[str]:
    """Read a JSON list of names, or nothing if the text is none."""
    try:
        names = json.loads(text)
    except json.JSONDecodeError:
        return []
    return [str(name) for name in names] if isinstance(names, list) else []
