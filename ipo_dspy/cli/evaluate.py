"""`ipo-dspy evaluate`: how good prompts are on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import orjson
from rich import box
from rich.table import Table
from rich.text import Text

from ipo_dspy.cli.tasks import read_images
from ipo_dspy.errors import ArgumentError, StorageError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE, SLOT, Template
from ipo_dspy.scoring.comparison import Evaluation, Evaluator, check_fit
from ipo_dspy.terminal.options import EncoderOptions, Flag, ReadingOptions, SavedEncoderOptions
from ipo_dspy.terminal.output import remark, results, stage
from ipo_dspy.terminal.parts import make_encoder


class Prompt(NamedTuple):
    """A template under the name it has in the table; `encoder` is the one it was saved with."""

    name: str
    template: Template
    encoder: str | None = None


def evaluate(
    prompt: str,
    folder: Path,
    /,
    *,
    against: tuple[str, ...] = (),
    baselines: Flag = False,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    encoder: SavedEncoderOptions = SavedEncoderOptions(),  # noqa: B008 - frozen
) -> None:
    """Show accuracy and loss of one or more prompts, in all and by class.

    Args:
        prompt: a saved program such as runs/demo-seed0/program.json, whose encoder is used unless
            --clip names another, or a template such as 'a sketch of a <CLASS>.'
        folder: labelled images, as for `optimize`; told apart among their own classes.
        against: a further program or template; may be given several times.
        baselines: add the bare class name, 'a photo of a <CLASS>.' and the mean of the 80
            templates that CLIP's authors wrote for ImageNet.
    """
    prompts = [_prompt(text) for text in (prompt, *against)]
    clip = encoder.clip or prompts[0].encoder or EncoderOptions.clip
    for each in prompts:
        if each.encoder not in (None, clip):
            remark(
                f"{each.name!r} was saved with the encoder {each.encoder}; it is evaluated with "
                f"{clip}."
            )
    with stage(f"Reading images of {folder}"):
        images = read_images(folder, reading)
    with stage(f"Loading the encoder {clip}"):
        options = EncoderOptions(clip, encoder.device, encoder.precision)
        embedder = Embedder(make_encoder(options))
    if baselines:
        prompts += _baselines()
    for each in prompts:
        check_fit(embedder, each.template, images.classnames)
    with stage("Evaluating"):
        evaluations = Evaluator(embedder, images).evaluate([p.template for p in prompts])

    names = [each.name for each in prompts]
    results.print(f"{len(images)} images of {len(images.classnames)} classes, encoder {clip}")
    results.print(_overall(names, evaluations))
    results.print("Accuracy in % by class, of the prompts by number:")
    results.print(_by_class(images.classnames, evaluations))


def _prompt(text: str) -> Prompt:
    if not text.endswith(".json"):
        template = Template(text)
        return Prompt(template.text, template)
    try:
        saved = orjson.loads(Path(text).read_bytes())["predict"]
        template = Template(saved["signature"]["instructions"])
        return Prompt(template.text, template, saved["clip"]["encoder"])
    except OSError as error:
        raise StorageError(f"{text} cannot be read: {error.strerror}.") from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ArgumentError(f"{text} is no program that CLIPClassifier.save wrote.") from error


def _baselines() -> list[Prompt]:
    import open_clip

    ensemble = Template("\n".join(fill(SLOT) for fill in open_clip.OPENAI_IMAGENET_TEMPLATES))
    return [
        Prompt("bare class name", Template(SLOT)),
        Prompt(DEFAULT_TEMPLATE.text, DEFAULT_TEMPLATE),
        Prompt(f"mean of {len(ensemble.lines)} templates for ImageNet", ensemble),
    ]


def _overall(names: list[str], evaluations: list[Evaluation]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("", justify="right")
    table.add_column("prompt", ratio=1)
    table.add_column("accuracy %", justify="right")
    table.add_column("loss", justify="right")
    for number, (name, evaluation) in enumerate(zip(names, evaluations, strict=True), start=1):
        score = evaluation.score
        table.add_row(str(number), Text(name), f"{score.accuracy:.2f}", f"{score.loss:.4f}")
    return table


def _by_class(classnames: tuple[str, ...], evaluations: list[Evaluation]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("class", ratio=1)
    for number in range(1, len(evaluations) + 1):
        table.add_column(str(number), justify="right")
    for name in classnames:
        scores = [evaluation.score.per_class.get(name) for evaluation in evaluations]
        row = ["none" if score is None else f"{score:.1f}" for score in scores]
        table.add_row(Text(name), *row)
    return table
