"""From a spec to an encoder, each loaded once per process."""

from __future__ import annotations

import threading
from difflib import get_close_matches
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ipo_dspy import registry
from ipo_dspy.errors import UnknownNameError

if TYPE_CHECKING:
    from ipo_dspy.encoders.base import Encoder

_NAME_A_MODEL = ("open_clip", "hf")
_FORMS = (
    "'demo', 'open_clip:MODEL/PRETRAINED' such as 'open_clip:ViT-B-16-quickgelu/openai', "
    "'open_clip:MODEL/FILE' with a checkpoint file, 'hf:MODEL' with a hub name or a folder, or the "
    "name of an installed plug-in"
)

_loaded: WeakValueDictionary[tuple[str, str, str], Encoder] = WeakValueDictionary()
_lock = threading.RLock()


def load_encoder(spec: str, *, device: str | None = None, precision: str | None = None) -> Encoder:
    """Load the encoder that `spec` names; while it is in use, the same call gives the same object.

    Args:
        spec: `demo`; `open_clip:MODEL/PRETRAINED`, `open_clip:MODEL/FILE`, `open_clip:hf-hub:NAME`;
            `hf:MODEL` with a hub name or a folder; or what an installed plug-in registers.
        device: `cuda`, `mps`, `cpu` or as torch spells it; by default the best there is.
        precision: `float32`, `bfloat16` or `float16`, the last two as autocast over float32
            weights; by default bfloat16 on CUDA and float32 elsewhere.

    Raises:
        ArgumentError: the spec, device or precision is none there is; the message has near matches.
        EncoderError: weights are missing, unreadable or do not fit the model.
    """
    from ipo_dspy.encoders.device import choose_device, choose_precision

    _scheme(spec)
    chosen_device = choose_device(device)
    chosen_precision = choose_precision(precision, chosen_device)
    key = (spec, str(chosen_device), chosen_precision)
    with _lock:
        encoder = _loaded.get(key)
        if encoder is None:
            encoder = _load(spec, str(chosen_device), chosen_precision)
            _loaded[key] = encoder
        return encoder


def _load(spec: str, device: str, precision: str) -> Encoder:
    load = registry.find("encoders", _scheme(spec))
    encoder: Encoder = load(spec, device=device, precision=precision)
    return encoder


def _scheme(spec: str) -> str:
    """Name the plug-in of a spec: what stands before the colon, or all of it."""
    known = registry.names("encoders")
    scheme, colon, rest = spec.partition(":")
    if scheme in known and (colon if scheme in _NAME_A_MODEL else bool(colon) == bool(rest)):
        return scheme
    forms = [f"{name}:" if name in _NAME_A_MODEL else name for name in known]
    begun = scheme.lower()
    near = get_close_matches(f"{begun}:", forms) or get_close_matches(begun, forms)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownNameError(f"{spec!r} names no encoder; {hint}write {_FORMS}")
