"""What is on this machine comes first; the Hugging Face hub is asked only for what is missing.

So what was fetched once stays as it is, and needs no network. Its client reads `HF_HUB_OFFLINE`,
`HF_HUB_CACHE`, `HF_HUB_ETAG_TIMEOUT` and `HF_HUB_DOWNLOAD_TIMEOUT` from the environment.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")
_SECONDS_TO_ANSWER = 4.0
_lock = threading.RLock()
MISSING_ERRORS = (OSError, RuntimeError, ValueError)
"""What libraries raise where a file is not on this machine."""
TRUST_ADVICE = (
    "if you trust who made them, say so with --trust-remote-code or trust_remote_code=True: "
    "code can do anything on this machine"
)
"""What to do where files bring code."""


@contextmanager
def offline() -> Iterator[None]:
    """Keep the hub's client, and the libraries that use it, off the network for a while."""
    from huggingface_hub import constants

    with _lock:
        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before


def is_offline() -> bool:
    """Whether nothing may be fetched."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def cached_first(load: Callable[[], _T]) -> _T:
    """Load from this machine alone; where something is missing, with the network.

    Where the hub does not answer, the first error stands: its client alone would retry every file
    for half a minute before it says so.

    Raises:
        OSError, RuntimeError, ValueError: what the loading raises.
    """
    if is_offline():
        return load()
    try:
        with offline():
            return load()
    except MISSING_ERRORS:
        if not _answers():
            raise
        return load()


def _answers() -> bool:
    """Whether anything at all comes back; looking up a name has no timeout, hence the thread."""
    from huggingface_hub import constants

    request = urllib.request.Request(constants.ENDPOINT, method="HEAD")
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS_TO_ANSWER):  # nosec B310
                answered.set()
        except urllib.error.HTTPError:
            answered.set()
        except OSError:
            return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SECONDS_TO_ANSWER)
    return answered.is_set()
