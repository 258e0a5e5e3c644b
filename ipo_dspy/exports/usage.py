"""Lines to copy that use what was found."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ipo_dspy.exports.base import Found
from ipo_dspy.exports.huggingface import hub_name
from ipo_dspy.exports.texts import Texts, format_string, open_clip_model, quoted, texts_of
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.prompts.template import Template

_LONGEST_LIST = 1_500
"""Characters of class names that are written out."""


class Way(NamedTuple):
    """Lines to copy, and what they are for."""

    name: str
    lines: tuple[str, ...]


def ways(program: CLIPClassifier, saved: Path | None, picture: Path | None = None) -> list[Way]:
    """The ways to use a program: this package, other tools, and for text open_clip and the hub's.

    Args:
        program: with what was found.
        saved: where it is saved; None where it is not.
        picture: a picture to show the usage with.
    """
    predict = program.predict
    has_more = (
        predict.learned is not None
        or (predict.demo_cache is not None and predict.demos)
        or predict.class_texts
        or program.describe is not None
    )
    found = []
    if saved is not None:
        found.append(Way("Python", usage(saved, picture)))
    if not has_more:
        texts = texts_of(Found(program), "This")
        if saved is None:
            found.append(Way("Python", _construction(program, picture)))
        found.append(Way("open_clip", _with_open_clip(texts)))
        if len(texts.lines) == 1:
            found.append(Way("Hugging Face", _with_transformers(texts.as_read(), picture)))
    if saved is not None:
        found.append(
            Way(
                "Label a folder, or take it to another tool",
                (
                    f"ipo-dspy predict FOLDER --program {quoted(saved)} --out labels.csv",
                    f"ipo-dspy export {quoted(saved)} --to weights",
                ),
            )
        )
    return found


def usage(program: Path, picture: Path | None) -> tuple[str, ...]:
    """Three lines of Python that classify a picture with the found prompt."""
    return (
        "from ipo_dspy import CLIPClassifier",
        f"classify = CLIPClassifier.from_file({quoted(program)})",
        f"print(classify(image={quoted(picture or 'picture.jpg')}).label)",
    )


def open_clip_form(template: Template) -> str:
    """Write the lines of a template as Python texts for `str.format`, as open_clip fills them."""
    return ", ".join(quoted(format_string(line, "{}")) for line in template.lines)


def _construction(program: CLIPClassifier, picture: Path | None) -> tuple[str, ...]:
    spec = program.embedder.encoder.spec
    return (
        "from ipo_dspy import CLIPClassifier",
        f"class_names = {_names(tuple(map(str, program.classnames)))}",
        f"classify = CLIPClassifier(class_names, {quoted(spec)}, {quoted(program.template.text)})",
        f"print(classify(image={quoted(picture or 'picture.jpg')}).label)",
    )


def _with_open_clip(texts: Texts) -> tuple[str, ...]:
    name, pretrained = open_clip_model(texts.encoder) or ("MODEL", "PRETRAINED")
    tag = "" if pretrained is None else f", pretrained={quoted(pretrained)}"
    return (
        "import open_clip",
        f"model, _, preprocess = open_clip.create_model_and_transforms({quoted(name)}{tag})",
        f"class_names = {_names(texts.names)}",
        f"templates = [{', '.join(map(quoted, texts.formatted('{}')))}]",
        "weights = open_clip.build_zero_shot_classifier(",
        f"    model.eval(), open_clip.get_tokenizer({quoted(name)}), class_names, templates)",
    )


def _with_transformers(texts: Texts, picture: Path | None) -> tuple[str, ...]:
    model = hub_name(texts.encoder) or "MODEL"
    [template] = texts.formatted("{}")
    return (
        "from transformers import pipeline",
        f'classify = pipeline("zero-shot-image-classification", model={quoted(model)})',
        f"class_names = {_names(texts.names)}",
        f"classify({quoted(picture or 'picture.jpg')}, candidate_labels=class_names,",
        f"         hypothesis_template={quoted(template)})",
    )


def _names(names: tuple[str, ...]) -> str:
    written = f"[{', '.join(map(quoted, names))}]"
    if len(written) <= _LONGEST_LIST:
        return written
    return f"...  # the {len(names):,} names of the program, in its order"
