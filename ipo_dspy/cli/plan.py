"""`ipo-dspy plan`: what a search will ask for, before anything is asked."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from ipo_dspy.encoders.loading import check_spec
from ipo_dspy.images.task import task_name
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.prompts.template import Template
from ipo_dspy.terminal.options import RunOptions
from ipo_dspy.terminal.output import results, stage
from ipo_dspy.terminal.parts import check_task, make_optimizer, make_task


def plan(
    folder: Path | None = None,
    /,
    *,
    run: RunOptions = RunOptions(),  # noqa: B008 - frozen
) -> None:
    """Say how many calls and about how many tokens `optimize` would take, making none.

    Takes the options of `optimize`.

    Args:
        folder: as for `optimize`.
    """
    optimizer = make_optimizer(run)
    for text in run.search.initial:
        Template(text)
    check_spec(run.encoder.clip)
    check_task(folder, run)
    with stage(f"Reading images of {task_name(folder)}"), TemporaryDirectory() as pictures:
        task = make_task(folder, run, Path(pictures))
    optimizer.classes_described = task.unseen_classes
    # No encoder is asked for a plan, so the one that needs no download stands for any.
    student = CLIPClassifier(task.train.classnames, "demo")
    planned = optimizer.plan(student, trainset=task.train.examples)
    unseen = sum(len(images) for images in task.tests.values())
    results.print(
        f"{len(task.train)} images of {len(task.train.classnames)} classes to search on, "
        f"{unseen} unseen ones for the final figures."
    )
    results.print(
        f"Calls of the image model {run.describing.image_model!r}: {planned.description_calls}."
    )
    results.print(
        f"Calls of the prompt model {run.proposing.prompt_model!r}: {planned.proposal_calls}, "
        f"with about {planned.proposal_tokens:,} tokens in all, answers included."
    )
    if planned.class_text_calls:
        results.print(
            f"Of the same model, {planned.class_text_calls} calls for texts for each class, with "
            f"about {planned.class_text_tokens:,} tokens in all."
        )
    results.print("Nothing was called.")
