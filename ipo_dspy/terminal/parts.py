"""From options to images, encoders, language models, describers and the optimizer."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import dspy

from ipo_dspy.errors import ArgumentError, DataError, EncoderError
from ipo_dspy.features.backends import make_backend
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images import LabeledImages
from ipo_dspy.images.readers import check_images, read_images
from ipo_dspy.images.task import Sampling, Task, check_division, folder_task
from ipo_dspy.optimizers.ipo import IPOOptimizer
from ipo_dspy.programs.classifier import CLIPClassifier
from ipo_dspy.programs.state import saved_encoder
from ipo_dspy.proposing import describers
from ipo_dspy.proposing.describers import Describer
from ipo_dspy.proposing.faults import check_key
from ipo_dspy.proposing.models import Connection, language_model
from ipo_dspy.records import Trial
from ipo_dspy.registry import find
from ipo_dspy.runs.budget import Budget, Spent
from ipo_dspy.runs.folder import PROGRAM_FILE
from ipo_dspy.terminal.options import (
    DescribingOptions,
    EncoderOptions,
    ReadingOptions,
    RunOptions,
    SavedEncoderOptions,
)
from ipo_dspy.terminal.output import stage

if TYPE_CHECKING:
    from ipo_dspy.encoders.base import Encoder

LOCAL_MODELS = ("offline", "hf:")
"""Beginnings of the specs of models that run on this machine."""
_OPTIONS = re.compile(
    r"\b(shots|hold_out|novel|test|skip_bad_images|steady|strategy)=(?:(True)\b)?"
)


def make_task(source: Path | None, run: RunOptions, pictures: Path = Path("pictures")) -> Task:
    """Read a person's images and divide them, or draw the demo's.

    Args:
        source: a folder or a table; None stands for the demo.
        run: says how.
        pictures: folder for the demo's drawings.

    Raises:
        DataError: the images cannot be used, or are too few to be divided as asked.
        ArgumentError: an option is out of its range.
    """
    with _in_words_of_options():
        sampling = Sampling(**asdict(run.drawing))
        if source is None:
            _check_demo(run)
            task: Task = find("tasks", "demo")(
                pictures, sampling.seed, shots=sampling.shots, template=run.search.initial[0]
            )
            return task
        return folder_task(
            source,
            run.search.initial[0],
            sampling,
            names=run.reading.class_names,
            skip_bad_images=run.reading.skip_bad_images,
            test=run.unseen.test,
        )


def check_task(source: Path | None, run: RunOptions) -> tuple[str, ...]:
    """Check what can be checked of the images without decoding one; give the class names, if known.

    Raises:
        DataError: the folders are not laid out as they should be, or there are too few classes.
        ArgumentError: an option is out of its range, or the demo could not heed it.
    """
    with _in_words_of_options():
        sampling = Sampling(**asdict(run.drawing))
        if source is None:
            _check_demo(run)
            return ()
        if run.unseen.test is not None:
            check_images(run.unseen.test, names=run.reading.class_names)
        classnames = check_images(source, names=run.reading.class_names)
        check_division(sampling, classnames, run.unseen.test)
        return classnames


def check_models(optimizer: IPOOptimizer) -> None:
    """Refuse models that lack a key, before anything is read that takes time.

    Raises:
        ArgumentError: there is no key where the provider of a model wants one.
    """
    describer = optimizer.describer
    for lm in (optimizer.prompt_model, getattr(describer, "lm", None)):
        if isinstance(lm, dspy.LM):
            check_key(lm)


def _check_demo(run: RunOptions) -> None:
    """Refuse options that the demo could not heed.

    Raises:
        ArgumentError: one of them was given.
    """
    given = {
        "--class-names": run.reading.class_names is not None,
        "--skip-bad-images": run.reading.skip_bad_images,
        "--hold-out": run.sampling.hold_out != Sampling.hold_out,
        "--novel": run.sampling.novel,
        "--test": run.unseen.test is not None,
    }
    for option, is_given in given.items():
        if is_given:
            raise ArgumentError(
                f"The demo draws and divides its own pictures, so {option} would change nothing; "
                "leave it out, or give a folder of images."
            )


def check_layout(path: Path, options: ReadingOptions) -> tuple[str, ...]:
    """Check a folder of class folders or a table, decoding no image; give the class names.

    Raises:
        DataError: the images cannot be used; the message says why.
    """
    with _in_words_of_options():
        return check_images(path, names=options.class_names)


def read_labeled(path: Path, options: ReadingOptions) -> LabeledImages:
    """Read a folder of class folders, or a table of paths and labels.

    Raises:
        DataError: the images cannot be used; the message says why.
    """
    with _in_words_of_options():
        return read_images(path, names=options.class_names, skip_bad_images=options.skip_bad_images)


@contextmanager
def _in_words_of_options() -> Iterator[None]:
    """The library speaks of its arguments, the command line of its options."""
    try:
        yield
    except (DataError, ArgumentError) as error:
        told = _OPTIONS.sub(_option, str(error))
        raise type(error)(told) from error


def _option(found: re.Match[str]) -> str:
    return f"--{found[1].replace('_', '-')}{'' if found[2] or _ends(found) else ' '}"


def _ends(found: re.Match[str]) -> bool:
    return not found.string[found.end() :][:1].strip(" ,;.")


def make_encoder(
    options: EncoderOptions, *, trust_remote_code: bool = False, fetch: bool = True
) -> Encoder:
    """Load the encoder.

    Args:
        options: name it.
        trust_remote_code: run code that comes with it.
        fetch: take from the network what is not on this machine.

    Raises:
        ArgumentError: the spec, device or precision is none there is.
        EncoderError: weights are missing, unreadable or do not fit.
    """
    from ipo_dspy.encoders import load_encoder

    return load_encoder(
        options.clip,
        device=options.device,
        precision=options.precision,
        trust_remote_code=trust_remote_code,
        fetch=fetch,
    )


def read_program_of(place: Path, encoder: SavedEncoderOptions) -> CLIPClassifier:
    """Load the program of a run folder, or one that was saved, with the encoder it names.

    Only `--clip` has an encoder fetched, for a file fetches nothing.

    Raises:
        ArgumentError: there is no program, or it is damaged.
        EncoderError: the encoder is not on this machine, or does not load.
    """
    file = place / PROGRAM_FILE if place.is_dir() else place
    if not file.is_file():
        raise ArgumentError(
            f"{place} is neither a run folder with a {PROGRAM_FILE} nor a saved program; "
            "ipo-dspy runs lists run folders."
        )
    spec = encoder.clip or saved_encoder(file)
    with stage(f"Loading the encoder {spec}"):
        from ipo_dspy.encoders import load_encoder

        try:
            clip = load_encoder(
                spec,
                device=encoder.device,
                precision=encoder.precision,
                trust_remote_code=encoder.trust_remote_code,
                fetch=encoder.clip is not None,
            )
        except EncoderError as error:
            if encoder.clip is not None:
                raise
            raise EncoderError(
                f"{error}. A saved program fetches nothing on its own; --clip '{spec}' does."
            ) from error
    backend = make_backend(encoder.backend, encoder.address)
    return CLIPClassifier.from_file(file, Embedder(clip, backend=backend))


def make_embedder(
    options: EncoderOptions, *, trust_remote_code: bool = False, fetch: bool = True
) -> Embedder:
    """Load the encoder, and find who embeds with it.

    Args:
        options: name both.
        trust_remote_code: see `make_encoder`.
        fetch: see `make_encoder`.

    Raises:
        ArgumentError: the spec, device, precision or backend is none there is.
        EncoderError: weights are missing, unreadable or do not fit.
    """
    backend = make_backend(options.backend, options.address)
    encoder = make_encoder(options, trust_remote_code=trust_remote_code, fetch=fetch)
    return Embedder(encoder, backend=backend)


def make_prompt_model(options: RunOptions) -> dspy.LM:
    """Make the language model that proposes.

    Raises:
        ArgumentError: the spec names no model.
    """
    return language_model(
        options.proposing.prompt_model,
        trust_remote_code=options.describing.trust_remote_code,
        connection=_connection(options.describing),
    )


def make_describer(options: DescribingOptions) -> Describer | None:
    """Make what describes the images; None lets the encoder rank a vocabulary.

    Raises:
        ArgumentError: the spec names no model or no file.
    """
    return describers.make_describer(
        options.image_model,
        num_threads=options.num_threads,
        trust_remote_code=options.trust_remote_code,
        connection=_connection(options),
    )


def make_optimizer(
    options: RunOptions,
    run_dir: Path | None = None,
    on_trial: Callable[[Trial, Spent], None] | None = None,
) -> IPOOptimizer:
    """Put the optimizer together.

    Raises:
        ArgumentError: a setting is out of its range.
    """
    if options.search.strategy is not None:
        find("strategies", options.search.strategy)
    models = (options.proposing.prompt_model, options.describing.image_model)
    check_address_is_used(options.describing.api_base, *models)
    with _in_words_of_options():
        return _optimizer(options, run_dir, on_trial)


def check_address_is_used(address: str | None, *models: str) -> None:
    """Refuse the address of a server that no model is asked at.

    Raises:
        ArgumentError: all models run here, or there are none.
    """
    is_asked = any("/" in each and not each.startswith((*LOCAL_MODELS, "file:")) for each in models)
    if address is not None and not is_asked:
        raise ArgumentError(
            "--api-base is the address of a server, and no model of this command is asked at one; "
            "name one, such as openai/MODEL, or leave the address out."
        )


def _optimizer(
    options: RunOptions, run_dir: Path | None, on_trial: Callable[[Trial, Spent], None] | None
) -> IPOOptimizer:
    search, bounds = options.search, options.bounds
    return IPOOptimizer(
        prompt_model=make_prompt_model(options),
        describer=make_describer(options.describing),
        # Commands have a bar of their own.
        progress=False,
        steps=options.steps,
        prompts_per_step=search.prompts_per_step,
        history_size=search.history_size,
        preset=search.preset,
        # A list stands for itself; a single prompt gets others beside it.
        initial=search.initial[0] if len(search.initial) == 1 else search.initial,
        ensemble=search.ensemble,
        class_texts=search.class_texts,
        temperature=options.proposing.temperature,
        send_seed=not options.proposing.no_seed,
        strategy=search.strategy,
        steady=search.steady,
        budget=Budget(
            calls=bounds.max_calls,
            tokens=bounds.max_tokens,
            dollars=bounds.max_dollars,
            seconds=bounds.max_seconds,
            patience=bounds.patience,
        ),
        num_threads=options.describing.num_threads,
        seed=options.sampling.seed,
        run_dir=run_dir,
        on_trial=on_trial,
    )


def _connection(options: DescribingOptions) -> Connection:
    if not (math.isfinite(options.timeout) and options.timeout > 0):
        raise ArgumentError(f"--timeout must be above 0 seconds, got {options.timeout:g}.")
    if options.num_threads < 1:
        raise ArgumentError(f"--num-threads must be at least 1, got {options.num_threads}.")
    return Connection(timeout=options.timeout, api_base=options.api_base)
