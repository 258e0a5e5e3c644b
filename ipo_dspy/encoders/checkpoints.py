"""What is wrong with a checkpoint file that does not load."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ipo_dspy.errors import ArgumentError

_PREFIXES = ("model.", "clip.", "clip_model.", "net.", "student.", "teacher.", "ema.", "_orig_mod.")
"""What training frameworks put in front of the names of weights."""


MOST_LAYERS = 1000
"""The deepest towers there are have some fifty."""


def check_depth(config: Any) -> None:
    """Refuse a model of so many layers that only making it would take hours.

    Args:
        config: what describes the model, as JSON has it.

    Raises:
        ArgumentError: a part of it says so.
    """
    if isinstance(config, list):
        for each in config:
            check_depth(each)
    if not isinstance(config, Mapping):
        return
    for name, value in config.items():
        if "layers" in str(name) and isinstance(value, int) and value > MOST_LAYERS:
            raise ArgumentError(f"its config asks for {name} {value}, more than {MOST_LAYERS}")
        check_depth(value)


def describe_misfit(file: Path, make_model: Callable[[], nn.Module]) -> str:
    """Say why the weights in a file do not fit a model; empty where nothing is found.

    Args:
        file: the checkpoint.
        make_model: makes the model with any weights.
    """
    if file.stat().st_size == 0:
        return "the file is empty"
    try:
        weights = _read(file)
    # Files of anything make the readers raise anything.
    except Exception as error:  # noqa: BLE001
        reason = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
        return f"it cannot be read as weights ({reason or type(error).__name__})"
    if not weights:
        return "the file holds no weights"
    if common := _prefix(weights):
        return (
            f"the names of its weights begin with {common!r}, which a training framework put "
            "there; save the model's own state_dict()"
        )
    return _difference(weights, make_model().state_dict())


def _read(file: Path) -> Mapping[str, Tensor]:
    if file.suffix == ".safetensors":
        content: object = load_file(file)
    else:
        content = torch.load(file, map_location="cpu", weights_only=True)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise TypeError(f"it holds a {type(content).__name__}, not names and tensors")
    named = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return {name.removeprefix("module."): value for name, value in named.items()}


def _prefix(weights: Mapping[str, Tensor]) -> str:
    """What training frameworks put in front of most names, if anything."""
    for prefix in _PREFIXES:
        if 2 * sum(name.startswith(prefix) for name in weights) > len(weights):
            return prefix
    return ""


def _difference(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    sizes = [
        f"{name} is {list(found[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    if sizes:
        return f"{len(sizes)} of its weights are of another size, one of them {sizes[0]}"
    if missing := sorted(expected.keys() - found.keys()):
        return f"{len(missing)} of its weights are missing, one of them {missing[0]!r}"
    if left := sorted(found.keys() - expected.keys()):
        return f"it holds {len(left)} weights that the model has not, one of them {left[0]!r}"
    return ""
