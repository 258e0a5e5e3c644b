"""Tensors beside a program's JSON: a safetensors file, or text within the JSON."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipo_dspy.errors import ArgumentError, StorageError
from ipo_dspy.runs.folder import read_whole, write_whole

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
_FILE, _DIGEST, _TEXT = "file", "sha256", "base64"


def tensors_as_text(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Put tensors into JSON."""
    from safetensors.torch import save

    return {_TEXT: base64.b64encode(save(dict(tensors))).decode("ascii")}


def tensors_of(stored: Mapping[str, str]) -> dict[str, Tensor]:
    """Read what `tensors_as_text` gave.

    Raises:
        ArgumentError: it holds no tensors of finite numbers, or they were not read from their file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if _FILE in stored:
        raise ArgumentError(
            f"The learned tensors are in the file {stored[_FILE]}, beside the JSON; load the "
            "program with CLIPClassifier.from_file(path) or program.load(path)."
        )
    try:
        content = base64.b64decode(stored[_TEXT], validate=True)
        tensors: dict[str, Tensor] = load(content)
    except (KeyError, TypeError, binascii.Error, ValueError, SafetensorError) as error:
        raise ArgumentError(f"The learned tensors in the program are damaged: {error}.") from error
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise ArgumentError(
                f"The learned tensors in the program are damaged: {name!r} holds what is no finite "
                "number. Learn the prompt anew."
            )
    return tensors


def move_to_file(stored: dict[str, Any], path: Path) -> None:
    """Write tensors beside the JSON at `path`, under its name, and leave the file's name there.

    Raises:
        StorageError: the file cannot be written.
    """
    content = base64.b64decode(stored.pop(_TEXT))
    file = path.with_suffix(SUFFIX)
    write_whole(file, lambda unfinished: unfinished.write_bytes(content))
    stored |= {_FILE: file.name, _DIGEST: hashlib.sha256(content).hexdigest()}


def read_from_file(stored: dict[str, Any], path: Path) -> None:
    """Take tensors back from the file beside the JSON at `path`; undoes `move_to_file`.

    Raises:
        ArgumentError: the file lies elsewhere or is not the one that was written.
        StorageError: the file cannot be read.
    """
    if _FILE not in stored:
        return
    name = str(stored.pop(_FILE))
    if Path(name).name != name:
        raise ArgumentError(f"{path} names a file outside its folder: {name!r}.")
    file = path.parent / name
    try:
        content = read_whole(file)
    except OSError as error:
        raise StorageError(
            f"{file}, which holds what {path.name} learned, cannot be read: {error.strerror}. Keep "
            "the two files together."
        ) from error
    if hashlib.sha256(content).hexdigest() != stored.pop(_DIGEST, None):
        raise ArgumentError(f"{file} is not the file that was written with {path.name}.")
    stored[_TEXT] = base64.b64encode(content).decode("ascii")
