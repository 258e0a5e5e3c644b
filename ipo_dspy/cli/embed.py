"""`ipo-dspy embed`: the features of many images, for every later command."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from time import monotonic

from ipo_dspy.errors import DataError
from ipo_dspy.images.readers.references import image_references
from ipo_dspy.runs.folder import claim_file, write_whole
from ipo_dspy.terminal.options import EncoderOptions, Flag
from ipo_dspy.terminal.output import counting, remark, results, stage
from ipo_dspy.terminal.parts import make_embedder

IMAGES_AT_ONCE = 2**18
"""Images that are named in memory at a time, whatever their number."""
_ERRORS_SHOWN = 20


def embed(
    data: str,
    /,
    *,
    encoder: EncoderOptions = EncoderOptions(),  # noqa: B008 - frozen
    errors: Path | None = None,
    trust_remote_code: Flag = False,
) -> None:
    """Embed images that have no features yet, and keep these for every later command.

    Repeating a command goes on where it was stopped: what is kept is not embedded again. An image
    that cannot be read is listed at the end.

    Args:
        data: a folder of any layout, a table with the column path, webdataset shards (.tar), a URL
            that fsspec reads such as s3://bucket/images, or a pattern such as 'shards/*.tar'.
        errors: file to write, a line for each image that cannot be read and why; by default the
            first ones are shown.
        trust_remote_code: run code that comes with the encoder.
    """
    if errors is not None:
        claim_file(errors, [Path(data)])
    with stage(f"Loading the encoder {encoder.clip}"):
        embedder = make_embedder(encoder, trust_remote_code=trust_remote_code)
    references = image_references(data)
    began = monotonic()
    images = embedded = 0
    unread: list[str] = []
    with counting("Embedding") as advance:
        while some := list(islice(references, IMAGES_AT_ONCE)):
            filled = embedder.fill_store(some, advance)
            images += filled.images
            embedded += filled.embedded
            unread += filled.errors.values()
    if not images:
        raise DataError(f"There are no images in {data}; expected files such as .jpg or .png.")
    seconds = monotonic() - began
    kept = images - embedded - len(unread)
    results.print(
        f"{images:,} images: {embedded:,} embedded, {kept:,} kept before, {len(unread):,} cannot "
        f"be read. {seconds:.1f} s, {images / max(seconds, 1e-9):,.0f} images a second."
    )
    if errors is not None:
        content = "".join(f"{' '.join(error.split())}\n" for error in unread)
        write_whole(errors, lambda path: path.write_text(content, encoding="utf-8"))
    for error in unread[:_ERRORS_SHOWN]:
        remark(error)
    if len(unread) > _ERRORS_SHOWN:
        remark(f"and {len(unread) - _ERRORS_SHOWN:,} more; --errors FILE lists all of them.")
