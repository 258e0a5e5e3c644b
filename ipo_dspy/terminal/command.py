"""One command on the terminal: wrong use and errors as sentences, warnings, Ctrl-C."""

from __future__ import annotations

import errno
import inspect
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

from cyclopts import App, CycloptsError, MissingArgumentError, UnusedCliTokensError

from ipo_dspy.errors import ArgumentError, IPOError, SearchStoppedError
from ipo_dspy.records import visible
from ipo_dspy.runs.folder import give_up_writing
from ipo_dspy.terminal.output import stop_moving

SHOW_TRACEBACK = "IPO_DSPY_TRACEBACK"
"""Set in the environment, it shows where an expected error came from."""
_MISUSED = 2
_INTERRUPTED = 130
_OUTPUT_ENDED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EPIPE)
_CALL = re.compile(r"^(?:\w+: )(\w+) must be (.+?)(?: or None)?, got (.+?) of type \w+")
"""How the library tells of an argument, which on the command line is an option."""
_BUG = (
    "This is a fault of ipo-dspy, not of yours. Please report it, with the command, these lines "
    "and `ipo-dspy --version`, where you got ipo-dspy from."
)


def run_app(app: App, name: str, arguments: Sequence[str] | None = None) -> None:
    """Run what a command line asks for, and leave the process.

    It ends with 0 when the work is done, 1 after an error, 2 where the command line cannot be read,
    and 130 after Ctrl-C.

    Args:
        app: its commands.
        name: of the program, which sentences begin with.
        arguments: of the command line; None takes those of the process.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    with as_command(name):
        _check_texts(given)
        try:
            app(given, exit_on_error=False, print_error=False)
        except CycloptsError as error:
            sys.stderr.write(f"{name}: {_misuse(error)} --help lists what there is.\n")
            sys.exit(_MISUSED)


def _check_texts(arguments: Sequence[str]) -> None:
    for number, text in enumerate(arguments, start=1):
        if not text.strip() or "\0" in text:
            what = "has a zero byte in it" if text.strip() else "is empty"
            after = f", after {arguments[number - 2]!r}," if number > 1 else ""
            raise ArgumentError(
                f"Argument number {number}{after} {what}; give it a value, or leave it out. An "
                "unset variable of the shell may be the cause."
            )


def _misuse(error: CycloptsError) -> str:
    text = visible(" ".join(str(error).split()))
    if isinstance(error, UnusedCliTokensError):
        left = ", ".join(map(repr, error.unused_tokens or ()))
        text = visible(f"There is no place for {left}; a text with blanks needs quotes")
    if isinstance(error, MissingArgumentError) and error.argument and error.target:
        parameters = inspect.signature(error.target).parameters.values()
        takes = [each.name.upper() for each in parameters if each.kind is each.POSITIONAL_ONLY]
        if (missing := error.argument.name) in takes:
            command = " ".join(error.command_chain or ())
            text = f"{command} takes {' '.join(takes)}, and {missing} is missing"
    return text if text.endswith((".", "!", "?")) else f"{text}."


@contextmanager
def as_command(name: str) -> Iterator[None]:
    """Tell errors as one sentence, show warnings, and leave at once after Ctrl-C.

    Any error but an `IPOError` is a fault of the program: its traceback is shown, with a line on
    how to report it.

    Args:
        name: of the command, which sentences begin with.
    """
    interrupt = signal.signal(signal.SIGINT, partial(_leave, name))
    handler = _show_warnings()
    try:
        yield
    except IPOError as error:
        if os.environ.get(SHOW_TRACEBACK):
            raise
        sys.stderr.write(f"{name}: {_sentence(error)}\n")
        sys.exit(1)
    except OSError as error:
        if error.errno not in _OUTPUT_ENDED:
            error.add_note(_BUG)
            raise
        sys.stderr.write(f"{name}: The output cannot be written: {error.strerror}.\n")
        sys.exit(1)
    except Exception as error:
        error.add_note(_BUG)
        raise
    finally:
        logging.getLogger("ipo_dspy").removeHandler(handler)
        signal.signal(signal.SIGINT, interrupt)


def _sentence(error: IPOError) -> str:
    text = visible(" ".join(str(error).split()))
    text = _CALL.sub(lambda found: f"{_option(found[1])} must be {found[2]}, got {found[3]}", text)
    if isinstance(error, SearchStoppedError) and "timed out" in text.lower():
        text += " --timeout SECONDS waits longer."
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _option(argument: str) -> str:
    """The option that an argument of the library comes from."""
    bound = "max-" if argument in ("calls", "tokens", "dollars", "seconds") else ""
    return f"--{bound}{argument.replace('_', '-')}"


def _leave(name: str, signal_number: int, frame: FrameType | None) -> None:
    """Leave at once: all that counts is on disk, and calls in flight may take minutes."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    stop_moving()
    give_up_writing()
    sys.stderr.write(f"{name}: stopped; the same command goes on where it was.\n")
    sys.stderr.flush()
    os._exit(_INTERRUPTED)


class _Visible(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


def _show_warnings() -> logging.Handler:
    """Show the library's warnings, and spare the reader those about price lists and metadata."""
    # Pillow warns of odd metadata in pictures that it reads; what it cannot read is an error.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for name in ("dspy.clients.model_metadata", "LiteLLM"):
        logging.getLogger(name).setLevel(logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(_Visible("%(message)s"))
    logging.getLogger("ipo_dspy").addHandler(handler)
    return handler
