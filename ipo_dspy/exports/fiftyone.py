"""Arguments for the zero-shot models of FiftyOne."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Found
from ipo_dspy.exports.texts import (
    OTHERWISE,
    Texts,
    check_names_differ,
    only_line,
    open_clip_model,
    quoted,
    spec_parts,
    texts_of,
    write_json,
)
from ipo_dspy.prompts.template import SLOT


class FiftyOneExporter:
    """JSON with `name` and `arguments` of `fiftyone.zoo.load_zoo_model`, and what to call labels.

    FiftyOne knows prefixes alone with open_clip, so that where words follow the slot the whole
    captions are its classes, which `labels` maps to the names of classes.
    """

    suffix = ".json"

    def write(self, path: Path, found: Found) -> None:
        """Write the arguments; see `Exporter.write`.

        Raises:
            ArgumentError: the prompt is an ensemble or more than text, two classes have one name,
                or FiftyOne has no model for the encoder.
        """
        texts = texts_of(found, "FiftyOne")
        only_line(texts, "one caption for each class")
        check_names_differ(texts, "FiftyOne")
        write_json(path, _model(texts))

    def usage(self, path: Path, found: Found) -> tuple[str, ...]:
        """Lines of Python; see `Explained.usage`."""
        return (
            "import json, fiftyone.zoo as foz",
            f'found = json.load(open({quoted(path)}, encoding="utf-8"))',
            'model = foz.load_zoo_model(found["name"], **found["arguments"])',
            'dataset.apply_model(model, label_field="ipo")',
            'labelled = dataset.map_labels("ipo", found["labels"])',
        )


def _model(texts: Texts) -> dict[str, Any]:
    known = open_clip_model(texts.encoder)
    if known is not None:
        return _with_open_clip(texts, *known)
    scheme, name = spec_parts(texts.encoder)
    if scheme != "hf":
        raise ArgumentError(
            f"FiftyOne has no model for the encoder {texts.encoder.spec!r}; {OTHERWISE}."
        )
    read = texts.as_read()
    captions = dict(zip(texts.names, read.filled(), strict=True))
    return {
        "name": "zero-shot-classification-transformer-torch",
        "arguments": {
            "name_or_path": name,
            "text_prompt": "",
            "classes": list(texts.names),
            "class_prompts": captions,
        },
        "labels": dict(zip(texts.names, texts.labels, strict=True)),
    }


def _with_open_clip(texts: Texts, model: str, pretrained: str | None) -> dict[str, Any]:
    head, _, tail = texts.lines[0].partition(SLOT)
    is_prefix = not tail and head.endswith(" ") and head.strip() != ""
    classes = list(texts.names) if is_prefix else texts.filled()
    arguments = {
        "text_prompt": head.strip() if is_prefix else "",
        "classes": classes,
        "clip_model": model,
    }
    if pretrained is not None:
        arguments["pretrained"] = pretrained
    labels = dict(zip(classes, texts.labels, strict=True))
    return {"name": "open-clip-torch", "arguments": arguments, "labels": labels}
