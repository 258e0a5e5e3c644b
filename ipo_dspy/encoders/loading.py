"""From a spec to an encoder, each loaded once per process."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from contextlib import nullcontext, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ipo_dspy import registry
from ipo_dspy.encoders.offline import offline
from ipo_dspy.errors import UnknownNameError
from ipo_dspy.errors.arguments import checked

if TYPE_CHECKING:
    from ipo_dspy.encoders.base import Encoder

_NAME_A_MODEL = ("open_clip", "hf")
_FORMS = (
    "'demo', 'open_clip:MODEL/PRETRAINED' such as 'open_clip:ViT-B-16-quickgelu/openai', "
    "'open_clip:MODEL/FILE' with a checkpoint file, 'hf:MODEL' with a hub name or a folder, or the "
    "name of an installed plug-in"
)

_loaded: WeakValueDictionary[tuple[Hashable, ...], Encoder] = WeakValueDictionary()
_lock = threading.RLock()


@checked
def load_encoder(
    spec: str,
    *,
    device: str | None = None,
    precision: str | None = None,
    trust_remote_code: bool = False,
    fetch: bool = True,
) -> Encoder:
    """Load the encoder that `spec` names; while it is in use, the same call gives the same object.

    Args:
        spec: `demo`; `open_clip:MODEL/PRETRAINED`, `open_clip:MODEL/FILE`, `open_clip:hf-hub:NAME`;
            `hf:MODEL` with a folder, or a hub name and where wanted `@` and a branch, tag or
            commit; or what an installed plug-in registers.
        device: `cuda`, `mps`, `cpu` or as torch spells it; by default the best there is.
        precision: `float32`, `bfloat16` or `float16`, the last two as autocast over float32
            weights; by default bfloat16 on CUDA and float32 elsewhere.
        trust_remote_code: run code that comes with a tokenizer or a model; no spec and no file can
            ask for it.
        fetch: take from the network what is not on this machine.

    Raises:
        ArgumentError: the spec, device or precision is none there is; the message has near matches.
        EncoderError: weights are missing, unreadable or do not fit the model.
    """
    from ipo_dspy.encoders.device import choose_device, choose_precision

    _scheme(spec)
    chosen_device = choose_device(device)
    chosen_precision = choose_precision(precision, chosen_device)
    key = (spec, str(chosen_device), chosen_precision, trust_remote_code, files_of(spec))
    with _lock:
        encoder = _loaded.get(key)
        if encoder is None:
            load = registry.find("encoders", _scheme(spec))
            options = {"device": str(chosen_device), "precision": chosen_precision}
            # A plug-in's own code runs in any case, and weights of others bring none.
            brings_code = trust_remote_code and _scheme(spec) in _NAME_A_MODEL
            trust = {"trust_remote_code": True} if brings_code else {}
            with nullcontext() if fetch else offline():
                encoder = load(spec, **options, **trust)
            _loaded[key] = encoder
        return encoder


def check_spec(spec: str) -> None:
    """Check that a spec names a kind of encoder that there is, without loading one.

    Raises:
        UnknownNameError: it names none.
    """
    _scheme(spec)


def files_of(spec: str) -> tuple[tuple[str, int, int], ...]:
    """The files that a spec names, each with its time and size; rewritten files tell otherwise."""
    text = spec.partition(":")[2].removeprefix("local-dir:")
    starts = [0, *(index + 1 for index, character in enumerate(text) if character == "/")]
    for named in filter(None, (text[start:] for start in starts)):
        with suppress(OSError, ValueError, RuntimeError):
            path = Path(named).expanduser()
            if path.is_dir():
                return tuple(_status(each) for each in sorted(path.iterdir()) if each.is_file())
            if path.is_file():
                return (_status(path),)
    return ()


def _status(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path.absolute()), status.st_mtime_ns, status.st_size


def _scheme(spec: str) -> str:
    """Name the plug-in of a spec: what stands before the colon, or all of it."""
    known = registry.names("encoders")
    scheme, colon, rest = spec.partition(":")
    if scheme in known and (colon if scheme in _NAME_A_MODEL else bool(colon) == bool(rest)):
        if scheme == "demo" and colon:
            raise UnknownNameError(f"the encoder 'demo' has no {rest!r}; write 'demo' alone")
        return scheme
    forms = [f"{name}:" if name in _NAME_A_MODEL else name for name in known]
    begun = scheme.lower()
    near = get_close_matches(f"{begun}:", forms) or get_close_matches(begun, forms)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownNameError(f"{spec!r} names no encoder; {hint}write {_FORMS}")
