"""A found prompt as texts for tools that fill templates themselves, each in its own spelling."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipo_dspy.encoders.base import Encoder
from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Found
from ipo_dspy.prompts.template import SLOT
from ipo_dspy.runs.folder import make_room, write_whole

OTHERWISE = "export it as `weights`, which carries whatever the prompt is"


@dataclass(frozen=True)
class Texts:
    """The words that a program classifies with.

    Attributes:
        lines: templates of one `<CLASS>` each; more than one are an ensemble by the mean of their
            text features.
        names: the classes as they stand in the templates, in the order of the logits.
        labels: what the program calls the classes.
        encoder: what they were found with.
    """

    lines: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[str, ...]
    encoder: Encoder

    def formatted(self, slot: str) -> list[str]:
        """The lines for `str.format`: the slot as given, other braces doubled."""
        return [format_string(line, slot) for line in self.lines]

    def filled(self) -> list[str]:
        """The one template with each name in it.

        Raises:
            ArgumentError: there are several lines.
        """
        line = only_line(self, "one caption for each class")
        return [line.replace(SLOT, name) for name in self.names]

    def as_read(self) -> Texts:
        """The same words as the encoder reads them, for tools that hand them on as they are."""
        read = getattr(self.encoder, "as_read", None)
        if read is None:
            return self
        return Texts(
            tuple(_with_slot_kept(read, line) for line in self.lines),
            tuple(map(read, self.names)),
            self.labels,
            self.encoder,
        )


def _with_slot_kept(read: Callable[[str], str], line: str) -> str:
    # A word that no model's reading changes stands in for the class.
    word = next(w for w in map("slot{}".format, range(len(line) + 1)) if w not in line.lower())
    return read(line.replace(SLOT, word)).replace(word, SLOT)


def texts_of(found: Found, tool: str) -> Texts:
    """Read the words off what was found.

    Args:
        found: what there is.
        tool: which reads text alone, for the error.

    Raises:
        ArgumentError: the prompt is more than one text for all classes: learned vectors, texts for
            each class, or demos that count.
    """
    predict = found.program.predict
    if found.program.describe is not None or predict.class_texts:
        raise ArgumentError(
            f"{tool} takes one text for all classes, and this program has texts for each class; "
            f"{OTHERWISE}."
        )
    if predict.learned is not None:
        raise ArgumentError(
            f"{tool} takes text, and this program has learned vectors beside its text; {OTHERWISE}."
        )
    check_without_demos(found, f"{tool} takes text")
    return Texts(
        predict.effective_templates,
        tuple(name.replace("_", " ") for name in predict.classnames),
        tuple(map(str, predict.classnames)),
        found.program.embedder.encoder,
    )


def check_without_demos(found: Found, what: str) -> None:
    """Check that no demos count in the program.

    Raises:
        ArgumentError: some do.
    """
    predict = found.program.predict
    if predict.demo_cache is not None and predict.demos:
        raise ArgumentError(
            f"{what}, and this program also compares images with its {len(predict.demos)} demos; "
            "export it as `program`, or set demo_cache=None first."
        )


def only_line(texts: Texts, takes: str) -> str:
    """The template, where there is one.

    Raises:
        ArgumentError: there are several lines.
    """
    if len(texts.lines) > 1:
        raise ArgumentError(
            f"The format takes {takes}, and this prompt is an ensemble of {len(texts.lines)} "
            f"templates by the mean of their features; {OTHERWISE}."
        )
    return texts.lines[0]


def check_names_differ(texts: Texts, tool: str) -> None:
    """Check that a tool that finds classes by their names can.

    Raises:
        ArgumentError: two classes have one name.
    """
    for number, name in enumerate(texts.names):
        if name in texts.names[:number]:
            raise ArgumentError(
                f"{tool} tells classes apart by name, and two are called {name!r}; {OTHERWISE}, "
                "or give them different names."
            )


def format_string(line: str, slot: str) -> str:
    """Write a line of a template for `str.format`: its slot as given, other braces doubled."""
    return line.replace("{", "{{").replace("}", "}}").replace(SLOT, slot)


def spec_parts(encoder: Encoder) -> tuple[str, str]:
    """Divide an encoder's spec: before and after the colon."""
    scheme, _, rest = encoder.spec.partition(":")
    return scheme, rest


def open_clip_model(encoder: Encoder) -> tuple[str, str | None] | None:
    """What open_clip calls an encoder: model and pretrained tag or file; None for others."""
    scheme, rest = spec_parts(encoder)
    if scheme != "open_clip":
        return None
    if rest.startswith(("hf-hub:", "local-dir:")):
        return rest, None
    name, _, pretrained = rest.partition("/")
    return name, pretrained


def write_json(path: Path, content: Mapping[str, Any] | Sequence[Any]) -> None:
    """Write JSON that a person can read and every system decodes; see `write_text`."""
    write_text(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text; its folder is made.

    Raises:
        StorageError: it cannot be written; what was there before stays.
    """
    make_room(path)
    write_whole(path, lambda unfinished: unfinished.write_text(text, encoding="utf-8"))


def quoted(text: str | Path) -> str:
    """Write a text as one of Python."""
    return json.dumps(str(text), ensure_ascii=False)
