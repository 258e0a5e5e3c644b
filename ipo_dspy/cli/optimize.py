"""`ipo-dspy optimize`: the main job."""

from __future__ import annotations

import os
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ipo_dspy import registry
from ipo_dspy.cli.run_folder import default_run_folder, work_of
from ipo_dspy.cli.summary import CLASS_TEXTS, ENSEMBLE, print_summary
from ipo_dspy.errors import DataError, SearchStoppedError
from ipo_dspy.exports.base import Exporter, Found
from ipo_dspy.exports.photographs import Described, described
from ipo_dspy.exports.report import Report
from ipo_dspy.exports.reporting import LiveReport, now, reasons
from ipo_dspy.exports.usage import ways
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.image import ImageFile
from ipo_dspy.images.task import Task, task_name
from ipo_dspy.optimizers.ipo import IPOOptimizer
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.prompts.class_texts import ClassTexts
from ipo_dspy.prompts.template import Template
from ipo_dspy.proposing.faults import advice
from ipo_dspy.records import Trial
from ipo_dspy.runs.budget import Spent
from ipo_dspy.runs.folder import (
    PROGRAM_FILE,
    REPORT_FILE,
    hold,
    make_run_folder,
    mark_folder,
    unless_begun,
    write_together,
    write_whole,
)
from ipo_dspy.runs.journal import check_journal, read_journal, records
from ipo_dspy.scoring.comparison import Comparison, check_fit, compare
from ipo_dspy.terminal.options import RunOptions
from ipo_dspy.terminal.output import SearchProgress, remark, results, stage
from ipo_dspy.terminal.parts import (
    LOCAL_MODELS,
    check_models,
    check_task,
    make_embedder,
    make_optimizer,
    make_task,
)

if TYPE_CHECKING:
    from ipo_dspy.search.results import IPOResults


def optimize(
    folder: Path | None = None,
    /,
    *,
    run: RunOptions = RunOptions(),  # noqa: B008 - frozen
    out: Path | None = None,
) -> None:
    """Search a better prompt for images in class folders.

    Repeating a command goes on where it was stopped, or shows what it found.

    Args:
        folder: one folder per class with its images, or a .csv, .tsv or .jsonl table with the
            columns path and label; by default the demo, which draws its own pictures.
        out: folder of the run; by default one in runs/, named after images, models and seed, and
            numbered where images or options differ otherwise.
    """
    if folder is not None and not os.path.exists(folder):
        raise DataError(f"there is no folder {folder}; check the path")
    run_folder = out or default_run_folder(folder, run)
    progress = SearchProgress(run.steps, run.search.prompts_per_step)
    page = LiveReport(
        run_folder / REPORT_FILE,
        steps=run.steps,
        title=f"A prompt for {task_name(folder)}",
        settings=_settings(folder, run),
    )

    def show(trial: Trial, spent: Spent) -> None:
        progress.show(trial, spent)
        page(trial, spent)

    optimizer = make_optimizer(run, run_folder, show)
    before = Template(run.search.initial[0])
    embedder, task = _prepared(folder, run, run_folder, optimizer, before)
    optimizer.classes_described = task.unseen_classes
    student = CLIPClassifier(task.train.classnames, embedder, before)
    with page:
        with progress.shown():
            program = optimizer.compile(student, trainset=task.train.examples)
        found: IPOResults = program.detailed_results
        if found.useless is not None:
            reason = found.useless.reason or "no answer"
            hint = "Check --prompt-model, and give another --out or more --steps to try again."
            raise SearchStoppedError(
                "No prompt was found, for no answer of the prompt model could be used; the last "
                f"one: {reason}. {advice(reason, hint)}"
            )
        with stage("Testing on unseen images"):
            ensemble = found.ensemble and found.ensemble.template
            texts = found.described.class_texts if found.described else None
            after = Template(found.best.text)
            comparisons = _test(task, embedder, before, after, ensemble, texts)
        picture = _a_picture(task)
        report = Report(
            title=f"A prompt for {task.name}",
            results=found,
            comparisons=comparisons,
            settings=_settings(folder, run),
            remarks=task.remarks,
            is_free=run.proposing.prompt_model.startswith(LOCAL_MODELS),
            described=_described(run_folder, optimizer, task),
            counts=_counts(task),
            ways=ways(program, run_folder / PROGRAM_FILE, picture),
            made=now(),
        )
        with hold(run_folder):
            for name in ("program", "report"):
                exporter: Exporter = registry.find("exports", name)()
                write = partial(exporter.write, found=Found(program, report))
                write_together(run_folder / f"{name}{exporter.suffix}", write)
            if found.ensemble is not None:
                write_whole(run_folder / ENSEMBLE, found.ensemble.save)
            if found.described is not None:
                write_whole(run_folder / CLASS_TEXTS, found.described.save)
    for sentence in task.remarks:
        remark(sentence)
    print_summary(results, report, run_folder=run_folder, picture=picture)


def _prepared(
    folder: Path | None,
    run: RunOptions,
    run_folder: Path,
    optimizer: IPOOptimizer,
    before: Template,
) -> tuple[Embedder, Task]:
    """Check what can be checked, the cheapest first; load the encoder and read the images."""
    classnames = check_task(folder, run)
    for images_of in (folder, run.unseen.test):
        make_run_folder(run_folder, images_of)
    with unless_begun(run_folder):
        check_journal(run_folder)
        mark_folder(run_folder, work_of(folder, run))
        if not (run_folder / PROGRAM_FILE).is_file():
            check_models(optimizer)
        _introduce(folder, run)
        with stage(f"Loading the encoder {run.encoder.clip}"):
            trusted = run.describing.trust_remote_code
            embedder = make_embedder(run.encoder, trust_remote_code=trusted)
        if classnames:
            check_fit(embedder, before, classnames)
        with stage(f"Reading images of {task_name(folder)}"):
            task = make_task(folder, run, run_folder / "pictures")
        for images in (task.train, *task.tests.values()):
            check_fit(embedder, before, images.classnames)
    return embedder, task


def _described(run_folder: Path, optimizer: IPOOptimizer, task: Task) -> list[Described]:
    """Show the images that were described, with what was kept of them."""
    _, events = read_journal(run_folder)
    texts = {
        body["index"]: body["text"] for body in records(events, "description") if body.get("text")
    }
    images = optimizer.images_to_describe(task.train.examples)
    known = [(image, texts[number]) for number, image in enumerate(images) if number in texts]
    return described([image for image, _ in known], [text for _, text in known])


def _counts(task: Task) -> dict[str, str]:
    """How many images there were, and what became of them."""
    return {
        "images to search on": f"{len(task.train):,} of {len(task.train.classnames)} classes",
        **{f"images of {part}": f"{len(images):,}" for part, images in task.tests.items()},
        "files left out": reasons(task.left_out),
        "copies left out": f"{task.copies}",
    }


def _introduce(source: Path | None, run: RunOptions) -> None:
    """Say what the parts are that need no key and no download."""
    if source is None:
        remark(
            "The demo: chalk drawings of everyday objects, made by code. Prompts are searched on "
            "one half of the classes (base) and tested on unseen pictures of both halves."
        )
    if run.encoder.clip == "demo":
        remark(
            "The encoder 'demo' is a small CLIP that knows drawings of everyday objects only; for "
            "photos, --clip open_clip:ViT-B-16-quickgelu/openai loads a real one."
        )
    if run.proposing.prompt_model == "offline":
        remark(
            "The proposer 'offline' is no language model, it edits the prompts that it is shown; "
            "--prompt-model openai/gpt-4o-mini asks a real one."
        )
        if run.search.class_texts:
            remark(
                "Texts for each class come from a small glossary of the demo's classes; of others "
                "it knows nothing."
            )


def _test(
    task: Task,
    embedder: Embedder,
    before: Template,
    after: Template,
    ensemble: Template | None,
    class_texts: ClassTexts | None,
) -> tuple[Comparison, ...]:
    comparisons = []
    for part, images in task.tests.items():
        try:
            for template in (after, ensemble or after):
                check_fit(embedder, template, images.classnames)
        except ValueError as error:
            # Prompts are checked with the classes of the search; other names may be longer.
            remark(f"No figures for {part}: {error}")
        else:
            comparisons.append(
                compare(part, embedder, images, before, after, ensemble, class_texts)
            )
    return tuple(comparisons)


def _settings(source: Path | None, run: RunOptions) -> dict[str, str]:
    """List the options for the report; an address may hold a password, so it stays out."""
    groups = {field.name: getattr(run, field.name) for field in fields(run)} | {
        "sampling": run.drawing
    }
    options = {
        field.name.replace("_", " "): getattr(group, field.name)
        for group in groups.values()
        for field in fields(group)
        if field.name not in ("api_base", "address")
    }
    named = {"images": source or "the demo"} | options | {"steps": run.steps}
    return {name: _told(value) for name, value in named.items() if value is not None}


def _told(value: object) -> str:
    """Write a setting for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "\n".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _a_picture(task: Task) -> Path | None:
    """Find a picture to show the usage with, unseen ones first."""
    for images in (*task.tests.values(), task.train):
        for example in images.examples:
            if isinstance(example.image, ImageFile):
                return example.image.path
    return None
