"""What is on this machine comes first; the Hugging Face hub is asked only for what is missing.

So what was fetched once stays as it is, and needs no network. Its client reads `HF_HUB_OFFLINE`,
`HF_HUB_CACHE`, `HF_HUB_ETAG_TIMEOUT` and `HF_HUB_DOWNLOAD_TIMEOUT` from the environment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")
_lock = threading.RLock()
MISSING_ERRORS = (OSError, RuntimeError, ValueError)
"""What libraries raise where a file is not on this machine."""


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

    Raises:
        OSError, RuntimeError, ValueError: what the loading raises.
    """
    if is_offline():
        return load()
    try:
        with offline():
            return load()
    except MISSING_ERRORS:
        return load()
