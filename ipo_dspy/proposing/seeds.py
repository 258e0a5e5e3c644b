"""What an engine draws from: the seed of a request, or one made of the request itself."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter

from dspy.lm15 import ImagePart, Request

from ipo_dspy.proposing.engine import Turn


class Seeds:
    """Gives each request a number to draw from.

    With a seed in the request it is a function of the conversation and the seed alone, so that a
    repeated run draws the same. Without one, DSPy asks for several answers by repeating a request,
    and the n-th equal request gets a number made of the conversation and n.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked_before: Counter[str] = Counter()

    def number(self, request: Request, conversation: list[Turn]) -> int:
        """Make the number, 0 to 2**63 - 1."""
        digest = hashlib.blake2b(digest_size=8)
        for role, content in conversation:
            for part in content:
                digest.update(f"\0{role}\0".encode())
                digest.update(_bytes(part))
        if request.config.seed is not None:
            digest.update(f"\0seed\0{request.config.seed}".encode())
        else:
            key = digest.hexdigest()
            with self._lock:
                occurrence = self._asked_before[key]
                self._asked_before[key] += 1
            digest.update(f"\0occurrence\0{occurrence}".encode())
        return int.from_bytes(digest.digest()) >> 1


def _bytes(part: str | ImagePart) -> bytes:
    if isinstance(part, str):
        return part.encode()
    return str(part.data or part.url or part.path or part.file_id).encode()
