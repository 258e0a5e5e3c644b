"""Short names for long content, by which a run knows whether it is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import dspy
import orjson

from ipo_dspy.data.examples import image_of
from ipo_dspy.data.images import content_hash


def fingerprint(examples: Sequence[dspy.Example]) -> str:
    """Hash the content of examples; images count by content, not by where they lie."""
    parts = []
    for example in examples:
        image = image_of(example)
        fields = {
            key: content_hash(value) if value is image else repr(value)
            for key, value in example.items()
        }
        parts.append(repr(sorted(fields.items())))
    return digest(parts)


def digest(parts: Sequence[str]) -> str:
    """Hash texts, in order: 32 hexadecimal digits."""
    return hashlib.blake2b(orjson.dumps(list(parts)), digest_size=16).hexdigest()
