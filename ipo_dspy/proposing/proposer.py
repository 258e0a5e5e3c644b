"""Asks a language model for new prompts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import dspy

from ipo_dspy.errors.arguments import checked
from ipo_dspy.prompts.wording import ProposePrompt
from ipo_dspy.records import ScoredPrompt


@checked
class Proposer(dspy.Module):
    """(meta-prompt, image descriptions, scored history) -> one new prompt.

    Args:
        signature: a signature with the fields of `ProposePrompt`.
    """

    def __init__(self, signature: type[dspy.Signature] = ProposePrompt) -> None:
        super().__init__()
        self.propose = dspy.Predict(signature)

    @checked
    def forward(
        self,
        meta_prompt: str,
        image_descriptions: Sequence[str],
        scored_history: Sequence[ScoredPrompt],
        **kwargs: Any,
    ) -> dspy.Prediction:
        """Make one call to the configured language model; `prompt` is its answer, unchecked."""
        return self.propose(
            meta_prompt=meta_prompt,
            image_descriptions=list(image_descriptions),
            scored_history=list(scored_history),
            **kwargs,
        )


def rollout_id(seed: int, step: int, slot: int, attempt: int = 0) -> int:
    """Number a call so that equal requests are different calls, and a repeated run makes the same.

    `attempt` counts earlier answers to the same call. The number lies between 1 and 2**31 - 1.
    """
    key = f"{seed}/{step}/{slot}/{attempt}".encode()
    return 1 + int.from_bytes(hashlib.blake2b(key, digest_size=8).digest()) % (2**31 - 2)
