"""`ipo-dspy evaluate`: how good prompts are on labelled images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import orjson
from rich import box
from rich.table import Table
from rich.text import Text

from ipo_dspy.errors import ArgumentError, StorageError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images import LabeledImages
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.programs.prompt import LearnedPrompt
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE, SLOT, Template
from ipo_dspy.scoring.comparison import Evaluation, Evaluator, check_fit
from ipo_dspy.terminal.options import EncoderOptions, Flag, ReadingOptions, SavedEncoderOptions
from ipo_dspy.terminal.output import remark, results, stage
from ipo_dspy.terminal.parts import make_embedder, read_labeled


class Prompt(NamedTuple):
    """A template under the name it has in the table; `encoder` is the one it was saved with.

    `learned` is what a program learned beside the template, from an embedder and class names.
    """

    name: str
    template: Template
    encoder: str | None = None
    learned: Callable[[Embedder, Sequence[str]], LearnedPrompt] | None = None


def evaluate(
    prompt: str,
    folder: Path,
    /,
    *,
    against: tuple[str, ...] = (),
    baselines: Flag = False,
    method: str | None = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    encoder: SavedEncoderOptions = SavedEncoderOptions(),  # noqa: B008 - frozen
) -> None:
    """Show accuracy and loss of one or more prompts, in all and by class.

    Args:
        prompt: a saved program such as runs/demo-seed0/program.json, whose encoder is used unless
            --clip names another, or a template such as 'a sketch of a <CLASS>.', or with
            --method a checkpoint of its authors' code, such as model.pth.tar-5.
        folder: labelled images, as for `optimize`; told apart among their own classes.
        against: a further program or template; may be given several times.
        baselines: add the bare class name, 'a photo of a <CLASS>.' and the mean of the 80
            templates that CLIP's authors wrote for ImageNet.
        method: what trained the checkpoints that are given; --clip must name the CLIP they were
            trained with.
    """
    prompts = [_prompt(text, method) for text in (prompt, *against)]
    clip = encoder.clip or prompts[0].encoder or EncoderOptions.clip
    for each in prompts:
        if each.encoder not in (None, clip):
            remark(
                f"{each.name!r} was saved with the encoder {each.encoder}; it is evaluated with "
                f"{clip}."
            )
    with stage(f"Reading images of {folder}"):
        images = read_labeled(folder, reading)
    with stage(f"Loading the encoder {clip}"):
        options = EncoderOptions(
            clip, encoder.device, encoder.precision, encoder.backend, encoder.address
        )
        # A file fetches nothing on its own.
        is_asked_for = encoder.clip is not None or prompts[0].encoder is None
        embedder = make_embedder(
            options, trust_remote_code=encoder.trust_remote_code, fetch=is_asked_for
        )
    if baselines:
        prompts += _baselines()
    for each in prompts:
        check_fit(embedder, each.template, images.classnames)
    with stage("Evaluating"):
        evaluations = _evaluations(prompts, embedder, images)

    names = [each.name for each in prompts]
    results.print(f"{len(images)} images of {len(images.classnames)} classes, encoder {clip}")
    results.print(_overall(names, evaluations))
    results.print("Accuracy in % by class, of the prompts by number:")
    results.print(_by_class(images.classnames, evaluations))


def _evaluations(
    prompts: Sequence[Prompt], embedder: Embedder, images: LabeledImages
) -> list[Evaluation]:
    evaluator = Evaluator(embedder, images)
    texts = iter(evaluator.evaluate([p.template for p in prompts if p.learned is None]))
    return [
        next(texts)
        if each.learned is None
        else evaluator.evaluate_learned(each.learned(embedder, images.classnames))
        for each in prompts
    ]


def _prompt(text: str, method: str | None) -> Prompt:
    if method is not None and not text.endswith(".json") and Path(text).is_file():
        return _checkpoint(text, method)
    if not text.endswith(".json"):
        template = Template(text)
        return Prompt(template.text, template)
    try:
        saved = orjson.loads(Path(text).read_bytes())["predict"]
        template = Template(saved["signature"]["instructions"])
        clip = saved["clip"]
        if "learned" in clip:
            name = f"{clip['learned']['learner']} {text}"
            return Prompt(name, template, clip["encoder"], partial(_learned_in, Path(text)))
        return Prompt(template.text, template, clip["encoder"])
    except OSError as error:
        raise StorageError(f"{text} cannot be read: {error.strerror}.") from error
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise ArgumentError(f"{text} is no program that CLIPClassifier.save wrote.") from error


def _learned_in(path: Path, embedder: Embedder, classnames: Sequence[str]) -> LearnedPrompt:
    learned = CLIPClassifier.from_file(path, embedder).predict.learned
    if learned is None:
        raise ArgumentError(f"{path} holds nothing that was learned.")
    return learned


def _checkpoint(text: str, method: str) -> Prompt:
    """Read a checkpoint of the authors' code."""
    from ipo_dspy.optimizers.official import read_official

    learner, state = read_official(Path(text), method)

    def load(embedder: Embedder, classnames: Sequence[str]) -> LearnedPrompt:
        program = CLIPClassifier(classnames, embedder)
        return learner.official_prompt(program, state)

    return Prompt(f"{method} {text}", Template(f"{SLOT}."), None, load)


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
