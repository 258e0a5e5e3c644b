"""From what one types to a describer."""

from __future__ import annotations

from pathlib import Path

from ipo_dspy.errors import ArgumentError
from ipo_dspy.proposing.describers import Describer, FileDescriber, LMDescriber, NoDescriber
from ipo_dspy.proposing.models import Connection, vision_model

_FILE = "file:"


def make_describer(
    spec: str,
    *,
    num_threads: int = 8,
    trust_remote_code: bool = False,
    connection: Connection = Connection(),  # noqa: B008 - frozen
) -> Describer | None:
    """Make what describes images; None lets the encoder rank a vocabulary.

    Args:
        spec: `vocabulary`, `none`, `file:PATH` with a description a line, or a model that sees
            images, as for `vision_model`.
        num_threads: most calls of a model at the same time.
        trust_remote_code: run model code that comes with the weights.
        connection: how a model is reached over the network.

    Raises:
        ArgumentError: the spec names no model that sees images, or no file.
    """
    if spec == "vocabulary":
        return None
    if spec == "none":
        return NoDescriber()
    if spec.startswith(_FILE):
        path = Path(spec.removeprefix(_FILE)).expanduser()
        if not path.is_file():
            raise ArgumentError(f"There is no file of descriptions {path}.")
        return FileDescriber(path)
    lm = vision_model(spec, trust_remote_code=trust_remote_code, connection=connection)
    return LMDescriber(lm, num_threads)
