"""`ipo-dspy evaluate` and `ipo-dspy compare`: how good prompts are on labelled images."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

from cyclopts import Parameter
from rich import box
from rich.table import Table
from rich.text import Text

from ipo_dspy.cli.table import check_out, rows_of, write_rows
from ipo_dspy.errors import ArgumentError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images import LabeledImages
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.programs.prompt import Prompt as ClassifyingPrompt
from ipo_dspy.programs.prompt import TextPrompt
from ipo_dspy.programs.state import read_predictor, read_program
from ipo_dspy.prompts.template import DEFAULT_TEMPLATE, SLOT, Template
from ipo_dspy.runs.folder import PROGRAM_FILE, claim_file, write_whole
from ipo_dspy.scoring.comparison import Evaluation, Evaluator, check_fit
from ipo_dspy.terminal.options import (
    EncoderOptions,
    Flag,
    ReadingOptions,
    SavedEncoderOptions,
    Texts,
)
from ipo_dspy.terminal.output import remark, results, stage
from ipo_dspy.terminal.parts import check_layout, make_embedder, read_labeled


class Prompt(NamedTuple):
    """A template under the name it has in the table; `encoder` is the one it was saved with.

    `beside` is what a program has beside the template, from an embedder and class names: vectors
    that were learned, or texts for each class.
    """

    name: str
    template: Template
    encoder: str | None = None
    beside: Callable[[Embedder, Sequence[str]], ClassifyingPrompt] | None = None


def evaluate(
    prompt: str,
    folder: Path,
    /,
    *,
    against: Texts = (),
    baselines: Flag = False,
    published: str | None = None,
    method: str | None = None,
    out: Path | None = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    encoder: SavedEncoderOptions = SavedEncoderOptions(),  # noqa: B008 - frozen
) -> None:
    """Show accuracy and loss of one or more prompts, in all and by class.

    Args:
        prompt: a run folder or a saved program such as runs/demo-seed0/program.json, whose encoder
            is used unless --clip names another, or a template such as `a sketch of a <CLASS>.`, or
            with --method a checkpoint of its authors' code, such as model.pth.tar-5.
        folder: labelled images, as for `optimize`; told apart among their own classes.
        against: a further program or template; may be given several times.
        baselines: add the bare class name, `a photo of a <CLASS>.` and the mean of the 80
            templates that CLIP's authors wrote for ImageNet.
        published: add prompts that were published for the eleven benchmarks: IPO's, 'poster' for
            those of one shot and 'table17' for those of 16, or 'coop', written by hand.
        method: what trained the checkpoints that are given; --clip must name the CLIP they were
            trained with.
        out: also write the table to this file, as .csv, .json or .md.
    """
    texts = (prompt, *against)
    if method is not None and not any(_is_checkpoint(text) for text in texts):
        raise ArgumentError(
            f"--method {method} says what trained a checkpoint, and none is given; name its file, "
            "such as model.pth.tar-5, or leave --method out."
        )
    prompts = [_prompt(text, method) for text in texts]
    _show(prompts, folder, reading, encoder, _added(baselines, published), out, _sources(texts))


def compare(
    *prompts_and_folder: Annotated[str, Parameter(json_list=False)],
    baselines: Flag = False,
    published: str | None = None,
    out: Path | None = None,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    encoder: SavedEncoderOptions = SavedEncoderOptions(),  # noqa: B008 - frozen
) -> None:
    """Score prompts side by side on the same images: `compare RUN 'a sketch of a <CLASS>' DATA`.

    Args:
        prompts_and_folder: run folders, saved programs and templates; at last labelled images, as
            for `optimize`. The first prompt is what the others are compared with.
        baselines: add the bare class name, `a photo of a <CLASS>.` and the mean of the 80
            templates that CLIP's authors wrote for ImageNet.
        published: add published prompts; see `evaluate`.
        out: also write the table to this file, as .csv, .json or .md.
    """
    if len(prompts_and_folder) < 2:
        raise ArgumentError(
            "Expected one prompt or more and then a folder or table of images; got "
            f"{len(prompts_and_folder)} argument(s). For example: ipo-dspy compare runs/mine "
            "'a sketch of a <CLASS>' photos/"
        )
    *texts, folder = prompts_and_folder
    prompts = [_prompt(text, None) for text in texts]
    added = _added(baselines, published)
    _show(prompts, Path(folder), reading, encoder, added, out, _sources(texts))


def _added(baselines: bool, published: str | None) -> list[Prompt]:
    """What is compared besides what was given."""
    return (_published(published) if published else []) + (_baselines() if baselines else [])


def _sources(prompts: Sequence[str]) -> list[Path]:
    """The files that prompts are read from; templates name none."""
    return [
        file
        for text in prompts
        for file in (Path(text), Path(text, PROGRAM_FILE))
        if SLOT not in text
    ]


def _show(
    prompts: list[Prompt],
    folder: Path,
    reading: ReadingOptions,
    encoder: SavedEncoderOptions,
    added: Sequence[Prompt],
    out: Path | None,
    sources: Sequence[Path],
) -> None:
    if out is not None:
        claim_file(out, [folder, *sources])
        check_out(out)
    clip = encoder.clip or prompts[0].encoder or EncoderOptions.clip
    for each in prompts:
        if each.encoder not in (None, clip):
            remark(
                f"{each.name!r} was saved with the encoder {each.encoder}; it is evaluated with "
                f"{clip}."
            )
    classnames = check_layout(folder, reading)
    with stage(f"Loading the encoder {clip}"):
        options = EncoderOptions(
            clip, encoder.device, encoder.precision, encoder.backend, encoder.address
        )
        # A file fetches nothing on its own.
        is_asked_for = encoder.clip is not None or prompts[0].encoder is None
        embedder = make_embedder(
            options, trust_remote_code=encoder.trust_remote_code, fetch=is_asked_for
        )
    for each in prompts:
        check_fit(embedder, each.template, classnames)
    with stage(f"Reading images of {folder}"):
        images = read_labeled(folder, reading)
    for each in added:
        # Nobody typed these, so one that an encoder cannot read costs its row alone.
        try:
            check_fit(embedder, each.template, images.classnames)
        except ArgumentError as error:
            remark(f"Left out: {error}")
        else:
            prompts.append(each)
    with stage("Evaluating"):
        evaluations = _evaluations(prompts, embedder, images)

    names = [each.name for each in prompts]
    results.print(f"{len(images)} images of {len(images.classnames)} classes, encoder {clip}")
    results.print(_overall(names, evaluations))
    results.print("Accuracy in % by class, of the prompts by number:")
    results.print(_by_class(images.classnames, evaluations))
    if out is not None:
        write_whole(out, partial(write_rows, rows_of(names, evaluations)))
        results.print(f"Written: {out}", soft_wrap=True)


def _evaluations(
    prompts: Sequence[Prompt], embedder: Embedder, images: LabeledImages
) -> list[Evaluation]:
    evaluator = Evaluator(embedder, images)
    texts = iter(evaluator.evaluate([p.template for p in prompts if p.beside is None]))
    return [
        next(texts)
        if each.beside is None
        else evaluator.evaluate_prompt(each.beside(embedder, images.classnames), each.template)
        for each in prompts
    ]


def _is_checkpoint(text: str) -> bool:
    return not text.endswith(".json") and os.path.isfile(text)


def _prompt(text: str, method: str | None) -> Prompt:
    if method is not None and _is_checkpoint(text):
        return _checkpoint(text, method)
    path = Path(text) / PROGRAM_FILE if os.path.isdir(text) else Path(text)
    if path.suffix != ".json":
        template = Template(text)
        return Prompt(template.text, template)
    if not path.is_file():
        raise ArgumentError(
            f"There is no file {path}. Expected a run folder of ipo-dspy optimize, a saved "
            "program, or a template with <CLASS>; ipo-dspy runs lists run folders."
        )
    saved = read_predictor(read_program(path)["predict"])
    template, clip = Template(saved.signature.instructions), saved.clip
    beside = partial(_prompt_in, path)
    if clip.learned is not None:
        return Prompt(f"{clip.learned.learner} {text}", template, clip.encoder, beside)
    if clip.class_texts is not None:
        name = f"{template.text} (with texts for each class)"
        return Prompt(name, template, clip.encoder, beside)
    return Prompt(template.text, template, clip.encoder)


def _prompt_in(path: Path, embedder: Embedder, classnames: Sequence[str]) -> ClassifyingPrompt:
    predict = CLIPClassifier.from_file(path, embedder).predict
    return predict.learned or TextPrompt(
        Template(predict.signature.instructions), predict.class_texts
    )


def _published(source: str) -> list[Prompt]:
    from ipo_dspy.datasets import published_prompts

    return [
        Prompt(f"{Template(text).text} ({source}, {benchmark})", Template(text))
        for benchmark, text in published_prompts(source).items()
    ]


def _checkpoint(text: str, method: str) -> Prompt:
    """Read a checkpoint of the authors' code."""
    from ipo_dspy.optimizers.official import read_official

    learner, state = read_official(Path(text), method)

    def load(embedder: Embedder, classnames: Sequence[str]) -> ClassifyingPrompt:
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
    table.add_column("95 %", justify="right")
    table.add_column("loss", justify="right")
    table.add_column("p to 1", justify="right")
    for number, row in enumerate(rows_of(names, evaluations), start=1):
        table.add_row(
            str(number),
            Text(str(row["prompt"])),
            f"{row['accuracy']:.2f}",
            f"{row['low']:.1f} to {row['high']:.1f}",
            f"{row['loss']:.4f}",
            "" if row["p"] is None else f"{row['p']:.2g}",
        )
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
