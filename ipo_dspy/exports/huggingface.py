"""Labels and a template for the zero-shot pipelines of transformers, in Python and JavaScript."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ipo_dspy.encoders.base import Encoder
from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Found
from ipo_dspy.exports.texts import (
    OTHERWISE,
    Texts,
    check_names_differ,
    format_string,
    only_line,
    quoted,
    spec_parts,
    texts_of,
    write_json,
)
from ipo_dspy.prompts.template import SLOT

_OF_OPENAI = {
    "ViT-B-32-quickgelu/openai": "clip-vit-base-patch32",
    "ViT-B-16-quickgelu/openai": "clip-vit-base-patch16",
    "ViT-L-14-quickgelu/openai": "clip-vit-large-patch14",
    "ViT-L-14-336-quickgelu/openai": "clip-vit-large-patch14-336",
}
"""The same weights, as open_clip and as Hugging Face call them."""
_SPECIAL_IN_JAVASCRIPT = re.compile(r"\$[$&`']")


class HuggingFaceExporter:
    """JSON with the arguments of transformers' `zero-shot-image-classification` pipeline.

    `candidate_labels` and `hypothesis_template`, and `model` where the hub has the encoder's
    weights; `labels`, what the program calls the classes. SigLIP's pipeline gives sigmoids, which
    do not add up to one: labels are the same, probabilities are not.
    """

    suffix = ".json"

    def write(self, path: Path, found: Found) -> None:
        """Write the arguments; see `Exporter.write`.

        Raises:
            ArgumentError: the prompt is an ensemble or more than text, or two classes have one
                name.
        """
        texts = texts_of(found, "The pipeline").as_read()
        line = only_line(texts, "one template")
        check_names_differ(texts, "The pipeline")
        template = format_string(line, "{}")
        write_json(path, _arguments(texts, template, hub_name(texts.encoder)))

    def usage(self, path: Path, found: Found) -> tuple[str, ...]:
        """Lines of Python; see `Explained.usage`."""
        name = 'found["model"]' if hub_name(found.program.embedder.encoder) else "MODEL"
        return (
            "import json",
            "from transformers import pipeline",
            f'found = json.load(open({quoted(path)}, encoding="utf-8"))',
            f'classify = pipeline("zero-shot-image-classification", model={name})',
            'classify("picture.jpg", candidate_labels=found["candidate_labels"],',
            '         hypothesis_template=found["hypothesis_template"])',
        )


class TransformersJSExporter:
    """JSON with the arguments of transformers.js' `zero-shot-image-classification` pipeline.

    As for `HuggingFaceExporter`, with `model` a repository that has ONNX weights. Braces stay
    single, for JavaScript puts the label into the first `{}`.
    """

    suffix = ".json"

    def write(self, path: Path, found: Found) -> None:
        """Write the arguments; see `Exporter.write`.

        Raises:
            ArgumentError: the prompt is an ensemble or more than text, two classes have one name,
                a name would act as a pattern, or the library does not know the encoder's kind.
        """
        texts = texts_of(found, "The pipeline").as_read()
        line = only_line(texts, "one template")
        check_names_differ(texts, "The pipeline")
        for name in texts.names:
            if _SPECIAL_IN_JAVASCRIPT.search(name):
                raise ArgumentError(
                    f"The class name {name!r} holds a sign that JavaScript's replace acts on; "
                    f"rename the class, or {OTHERWISE}."
                )
        if _family(texts.encoder) == "siglip2":
            raise ArgumentError(
                "transformers.js pads the texts of SigLIP 2 for images of any shape in another way "
                f"than the model was trained; {OTHERWISE}."
            )
        model = hub_name(texts.encoder)
        if model is not None and model.startswith("openai/"):
            model = model.replace("openai/", "Xenova/")
        write_json(path, _arguments(texts, line.replace(SLOT, "{}"), model))

    def usage(self, path: Path, found: Found) -> tuple[str, ...]:
        """Lines of JavaScript; see `Explained.usage`."""
        return (
            "// The model's repository must have ONNX weights.",
            "import { pipeline } from '@huggingface/transformers';",
            "import { readFileSync } from 'node:fs';",
            f"const found = JSON.parse(readFileSync({quoted(path)}, 'utf8'));",
            "const classify = await pipeline('zero-shot-image-classification', found.model);",
            "await classify('picture.jpg', found.candidate_labels,",
            "               { hypothesis_template: found.hypothesis_template });",
        )


def _arguments(texts: Texts, template: str, model: str | None) -> dict[str, Any]:
    return {
        "model": model,
        "candidate_labels": list(texts.names),
        "hypothesis_template": template,
        "labels": list(texts.labels),
    }


def hub_name(encoder: Encoder) -> str | None:
    """What Hugging Face calls the weights of an encoder; None where they are not there."""
    scheme, rest = spec_parts(encoder)
    if scheme == "hf":
        return rest
    known = _OF_OPENAI.get(rest) if scheme == "open_clip" else None
    return None if known is None else f"openai/{known}"


def _family(encoder: Encoder) -> str:
    config = getattr(getattr(encoder, "model", None), "config", None)
    return str(getattr(config, "model_type", ""))
