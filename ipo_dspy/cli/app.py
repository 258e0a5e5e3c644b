"""Puts the commands together, and turns errors into one sentence each."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

from cyclopts import App
from dspy.utils.exceptions import DSPyError

from ipo_dspy import __version__
from ipo_dspy.cli.cache import cache
from ipo_dspy.cli.check_data import check_data
from ipo_dspy.cli.describe import describe
from ipo_dspy.cli.evaluate import evaluate
from ipo_dspy.cli.optimize import optimize
from ipo_dspy.cli.output import stop_moving
from ipo_dspy.cli.plan import plan
from ipo_dspy.cli.presets import presets
from ipo_dspy.encoders import EncoderError
from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.runs.journal import JournalError

EXPECTED_ERRORS = (
    ValueError,
    OSError,
    EncoderError,
    SearchStoppedError,
    JournalError,
    DSPyError,
)
"""Errors whose message tells a person what to do; any other is a fault of the program."""
SHOW_TRACEBACK = "IPO_DSPY_TRACEBACK"
"""Set in the environment, it shows where such an error came from."""
_INTERRUPTED = 130
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

app = App(
    name="ipo-dspy",
    help="Search better, readable CLIP prompts for your images.",
    version=__version__,
)
for command in (optimize, plan, evaluate, describe, check_data, presets):
    app.command(command)
app.command(cache)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exits with 1 after an error and with 130 after Ctrl-C.

    Args:
        arguments: of the command line; None takes those of the process.
    """
    with as_command(app.name[0]):
        app(arguments)


@contextmanager
def as_command(name: str) -> Iterator[None]:
    """Tell errors as one sentence, show warnings, and leave at once after Ctrl-C.

    Args:
        name: of the command, which sentences begin with.
    """
    interrupt = signal.signal(signal.SIGINT, partial(_leave, name))
    warnings = _show_warnings()
    try:
        yield
    except EXPECTED_ERRORS as error:
        if os.environ.get(SHOW_TRACEBACK):
            raise
        sys.stderr.write(f"{name}: {_sentence(error)}\n")
        sys.exit(1)
    finally:
        logging.getLogger("ipo_dspy").removeHandler(warnings)
        signal.signal(signal.SIGINT, interrupt)


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        text = f"{where}{error.strerror}"
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        text += ". What was written before is kept; make room and repeat the command to go on"
    if isinstance(error, SearchStoppedError) and "timed out" in text.lower():
        text += " --timeout SECONDS waits longer."
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _leave(name: str, signal_number: int, frame: FrameType | None) -> None:
    """Leave at once: all that counts is on disk, and calls in flight may take minutes."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    stop_moving()
    sys.stderr.write(f"{name}: stopped; the same command goes on where it was.\n")
    sys.stderr.flush()
    os._exit(_INTERRUPTED)


def _show_warnings() -> logging.Handler:
    """Show the library's warnings, and spare the reader those about price lists."""
    for name in ("dspy.clients.model_metadata", "LiteLLM"):
        logging.getLogger(name).setLevel(logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("ipo_dspy").addHandler(handler)
    return handler
