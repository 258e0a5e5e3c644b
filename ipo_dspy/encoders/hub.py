"""The Hugging Face hub within seconds: reached, or answered from the local cache alone."""

from __future__ import annotations

import logging
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

_logger = logging.getLogger(__name__)
_SECONDS_TO_ANSWER = 4.0
_lock = threading.Lock()


@contextmanager
def quick_hub() -> Iterator[None]:
    """While the hub does not answer, let its client read the local cache instead of retrying.

    Left alone, the client retries every file for over twenty seconds before it says so.
    """
    from huggingface_hub import constants

    with _lock:
        if constants.HF_HUB_OFFLINE or _answers(constants.ENDPOINT):
            yield
            return
        _logger.info("%s does not answer; using the local cache alone", constants.ENDPOINT)
        constants.HF_HUB_OFFLINE = True
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = False


def _answers(url: str) -> bool:
    """Whether anything at all comes back; looking up a name has no timeout, hence the thread."""
    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS_TO_ANSWER):
                answered.set()
        except urllib.error.HTTPError:
            answered.set()
        except OSError:
            return

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_SECONDS_TO_ANSWER)
    return answered.is_set()
