"""Lines to copy that use what was found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

from ipo_dspy.prompts.template import SLOT, Template


class Way(NamedTuple):
    """Lines to copy, and what they are for."""

    name: str
    lines: tuple[str, ...]


def ways(template: Template, program: Path | None, picture: Path | None = None) -> list[Way]:
    """The ways to use a template: this package, open_clip, and for one line Hugging Face.

    Args:
        template: what was found.
        program: where the program is saved; None where it is not.
        picture: a picture to show the usage with.
    """
    found = [] if program is None else [Way("Python", usage(program, picture))]
    found.append(Way("open_clip, as templates", (f"templates=[{open_clip_form(template)}]",)))
    if len(template.lines) == 1:
        found.append(
            Way(
                "Hugging Face, zero-shot-image-classification",
                (
                    "classify(image, candidate_labels=class_names,",
                    f"         hypothesis_template={open_clip_form(template)})",
                ),
            )
        )
    if program is not None:
        found.append(
            Way(
                "Other tools",
                (f"ipo-dspy export {json.dumps(str(program), ensure_ascii=False)} --to weights",),
            )
        )
    return found


def usage(program: Path, picture: Path | None) -> tuple[str, ...]:
    """Three lines of Python that classify a picture with the found prompt."""
    image = str(picture) if picture else "picture.jpg"
    return (
        "from ipo_dspy import CLIPClassifier",
        f"classify = CLIPClassifier.from_file({json.dumps(str(program), ensure_ascii=False)})",
        f"print(classify(image={json.dumps(image, ensure_ascii=False)}).label)",
    )


def open_clip_form(template: Template) -> str:
    """Write the lines of a template as Python texts for `str.format`, as open_clip fills them."""
    lines = [
        line.replace("{", "{{").replace("}", "}}").replace(SLOT, "{}") for line in template.lines
    ]
    return ", ".join(json.dumps(line, ensure_ascii=False) for line in lines)
