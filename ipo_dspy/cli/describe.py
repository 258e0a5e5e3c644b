"""`ipo-dspy describe`: texts about the images that a search would be told."""

from __future__ import annotations

from pathlib import Path

import dspy

from ipo_dspy.errors import ArgumentError, SearchStoppedError
from ipo_dspy.optimizers.ipo import IPOOptimizer
from ipo_dspy.proposing.describers import Describer, LMDescriber, NoDescriber, VocabularyDescriber
from ipo_dspy.proposing.faults import check_key
from ipo_dspy.runs.folder import claim_file, write_whole
from ipo_dspy.terminal.options import (
    DescribingOptions,
    EncoderOptions,
    ReadingOptions,
    RunOptions,
    SamplingOptions,
)
from ipo_dspy.terminal.output import remark, results, stage
from ipo_dspy.terminal.parts import (
    check_address_is_used,
    check_task,
    make_describer,
    make_embedder,
    make_task,
)


def describe(
    folder: Path,
    /,
    *,
    reading: ReadingOptions = ReadingOptions(),  # noqa: B008 - frozen
    sampling: SamplingOptions = SamplingOptions(),  # noqa: B008 - frozen
    encoder: EncoderOptions = EncoderOptions(),  # noqa: B008 - frozen
    describing: DescribingOptions = DescribingOptions(),  # noqa: B008 - frozen
    out: Path | None = None,
) -> None:
    """Describe the images that `optimize` with the same options would have described.

    Args:
        folder: labelled images, as for `optimize`.
        out: file to write, one description a line, for `--image-model file:PATH`; by default they
            are printed.
    """
    if out is not None:
        _check_out(out, folder, describing.image_model)
    describer = make_describer(describing)
    run = RunOptions(reading=reading, sampling=sampling)
    check_task(folder, run)
    check_address_is_used(describing.api_base, describing.image_model)
    if isinstance(describer, NoDescriber):
        raise ArgumentError("The image model 'none' describes nothing; choose another.")
    if isinstance(describer, LMDescriber) and isinstance(describer.lm, dspy.LM):
        check_key(describer.lm)
    if describer is None:
        with stage(f"Loading the encoder {encoder.clip}"):
            describer = VocabularyDescriber(
                make_embedder(encoder, trust_remote_code=describing.trust_remote_code)
            )
    with stage(f"Reading images of {folder}"):
        task = make_task(folder, run)
    images = IPOOptimizer().images_to_describe(task.train.examples)
    with stage(f"Describing {len(images)} images"):
        texts = _describe(describer, images)
    if out is None:
        for text in texts:
            results.print(text, soft_wrap=True)
        return
    content = "".join(f"{text}\n" for text in texts)
    write_whole(out, lambda path: path.write_text(content, encoding="utf-8"))
    remark(f"Wrote {len(texts)} descriptions to {out}; use them with --image-model file:{out}")


def _check_out(out: Path, folder: Path, image_model: str) -> None:
    """Make room before anything is asked of a model.

    Raises:
        ArgumentError: the file is one of the images, or read otherwise.
        StorageError: it cannot be written.
    """
    claim_file(out, (folder, Path(image_model.removeprefix("file:"))))
    if out.is_file() and out.read_bytes()[:1] in (b"{", b"["):
        raise ArgumentError(
            f"{out} is there already and holds no descriptions; name another file with --out, or "
            "move it away."
        )
    if folder.is_dir() and out.exists() and out.resolve().is_relative_to(folder.resolve()):
        raise ArgumentError(
            f"{out} lies among the images of {folder} and would be replaced; name another file "
            "with --out."
        )


def _describe(describer: Describer, images: list[object]) -> list[str]:
    """Describe images, one line each.

    Raises:
        SearchStoppedError: an image has no description.
    """
    texts: dict[int, str] = {}
    for description in describer.describe(dict(enumerate(images))):
        if description.text is None:
            raise SearchStoppedError(
                f"Image {description.index} could not be described: {description.error}. What was "
                "answered is in DSPy's cache; repeat the command to go on."
            )
        texts[description.index] = " ".join(description.text.split())
    if len(texts) < len(images):
        raise SearchStoppedError("The image model 'none' describes nothing; choose another.")
    return [texts[index] for index in range(len(images))]
