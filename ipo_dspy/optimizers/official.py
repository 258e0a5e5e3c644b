"""Checkpoints that the learners' authors' code wrote, read without running code from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from ipo_dspy.errors import ArgumentError, StorageError
from ipo_dspy.optimizers.prompt_learner import PromptLearner
from ipo_dspy.registry import find


def read_official(path: Path, method: str) -> tuple[PromptLearner, Mapping[str, Any]]:
    """Read a file such as `model.pth.tar-5`.

    Args:
        path: of the file.
        method: what trained it, as the registry calls it.

    Returns:
        A learner of the sizes in the file, and what the file holds.

    Raises:
        ArgumentError: the method is none of a learner, or the file is no checkpoint of it.
        StorageError: the file cannot be read.
    """
    kind = find("optimizers", method)
    if not isinstance(kind, type) or not issubclass(kind, PromptLearner):
        raise ArgumentError(f"{method!r} learns no vectors, so there are no checkpoints of it.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ArgumentError(
            f"{path} is no checkpoint of PyTorch, or one that cannot be read without running code "
            "from it; give a file that the authors' code saved, such as model.pth.tar-5."
        ) from error
    if not isinstance(state, Mapping):
        raise ArgumentError(f"{path} holds a {type(state).__name__}, expected named tensors.")
    return kind.of_official(state), state
