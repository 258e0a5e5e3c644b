"""`hf:NAME`, `hf:NAME@REVISION` or `hf:FOLDER`: a `dspy.LM` of a model in this process."""

from __future__ import annotations

from pathlib import Path

import dspy

from ipo_dspy.errors import ArgumentError
from ipo_dspy.local_models.engine import TransformersEngine, VisionEngine


def local_model(name: str, *, sees_images: bool, trust_remote_code: bool) -> dspy.LM:
    """Make the LM; nothing is loaded before it is asked.

    Args:
        name: a folder, or a name on the hub with `@` and a branch, tag or commit after it where
            not the newest is wanted.
        sees_images: whether it is to describe images.
        trust_remote_code: run model code that comes with the weights.

    Raises:
        ArgumentError: there is no name, or no revision after the `@`.
    """
    folder = Path(name).expanduser()
    is_folder = bool(name) and folder.is_dir()
    model, at, revision = (str(folder.resolve()), "", "") if is_folder else name.partition("@")
    if not model or bool(at) != bool(revision):
        raise ArgumentError(
            f"'hf:{name}' names no model; write 'hf:' and a folder or a hub name, with '@' and a "
            "branch, tag or commit where not the newest is wanted"
        )
    if is_folder and not (folder / "config.json").is_file():
        raise ArgumentError(
            f"'hf:{name}' is a folder without config.json; give one that a model and its tokenizer "
            "were saved in with save_pretrained"
        )
    make = VisionEngine if sees_images else TransformersEngine
    return dspy.LM(
        f"hf/{model}{at}{revision}",
        engine=make(model, revision=revision or None, trust_remote_code=trust_remote_code),
        # What is in a folder may change under its name, so that old answers would be wrong.
        cache=not is_folder,
    )
