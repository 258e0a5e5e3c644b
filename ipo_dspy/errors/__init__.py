"""All errors of the package, one tree; each message says what came and what to do."""

from __future__ import annotations

import re
from typing import NoReturn

_BREAKS = re.compile("[\\x00-\\x1f\\x7f\\x85\\u2028\\u2029\\ud800-\\udfff]")

_LONGEST = 2000


class IPOError(Exception):
    """The root of all errors that this package raises; the message tells a person what to do.

    It is one line of at most 2,000 characters, whatever the names of files and the texts in it.
    """

    def __str__(self) -> str:
        message = super().__str__()
        if len(message) > _LONGEST:
            # What is wrong stands in front, and what to do at the end.
            message = f"{message[:1000]} ... {message[-500:]}"
        return _BREAKS.sub(lambda found: ascii(found[0])[1:-1], message)


class ArgumentError(IPOError, ValueError, TypeError):
    """An argument or an option is not what was expected, in its value or in its type."""


class UnknownNameError(ArgumentError):
    """A name stands for nothing there is; the message has near matches."""


class InvalidTemplateError(ArgumentError):
    """A text is no CLIP template."""


class RefusedError(ArgumentError):
    """A proposal breaks a rule; the message says which one."""


class DataError(IPOError, ValueError):
    """The images, labels or folders given cannot be used as they are."""


class LabelError(DataError):
    """A label is none of the class names."""


class UnreadableImage(DataError):  # noqa: N818
    """One image cannot be opened or decoded in full."""


class EncoderError(IPOError, RuntimeError):
    """An encoder cannot be loaded, or cannot encode what it was given."""


class EvaluationError(IPOError, RuntimeError):
    """A program or a metric fails on too many examples to be scored."""


class MetricError(EvaluationError):
    """The metric itself fails on too many examples, whatever the program gives."""


class JournalError(IPOError, RuntimeError):
    """A journal cannot be read, written, or belongs to another run."""


class UnknownIdentityError(ArgumentError):
    """Of something that decides a run it cannot be told whether it is the same another time."""


class StorageError(IPOError, OSError):
    """A file or a folder cannot be read or written; the message says which and why."""


class OutOfTimeError(IPOError, TimeoutError):
    """The time of a call or of a run is up; what was out is left behind."""


class SearchStoppedError(IPOError, RuntimeError):
    """A search ended before its time; what was done is kept and can be resumed."""


class TrainingError(IPOError, RuntimeError):
    """A training cannot go on; the epochs that were finished are kept where there is a folder."""


def stop(message: str, cause: BaseException | None = None) -> NoReturn:
    """End the search with one sentence."""
    raise SearchStoppedError(message) from cause
