"""Lines to copy that use what was found."""

from __future__ import annotations

import json
from pathlib import Path

from ipo_dspy.prompts.template import SLOT, Template


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
