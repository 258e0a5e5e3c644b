"""From a spec to an encoder, each loaded once per process."""

from __future__ import annotations

import threading
from difflib import get_close_matches
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from ipo_dspy.encoders.dual_encoder import DualEncoder

_SCHEMES = ("demo", "open_clip:", "hf:")
_FORMS = (
    "'demo', 'open_clip:MODEL/PRETRAINED' such as 'open_clip:ViT-B-16-quickgelu/openai', "
    "'open_clip:MODEL/FILE' with a checkpoint file, or 'hf:MODEL' with a hub name or a folder"
)

_loaded: WeakValueDictionary[tuple[str, str, str], DualEncoder] = WeakValueDictionary()
_lock = threading.RLock()


def load_encoder(
    spec: str, *, device: str | None = None, precision: str | None = None
) -> DualEncoder:
    """Load the encoder that `spec` names; while it is in use, the same call gives the same object.

    Args:
        spec: `demo`; `open_clip:MODEL/PRETRAINED`, `open_clip:MODEL/FILE`, `open_clip:hf-hub:NAME`;
            or `hf:MODEL` with a hub name or a folder.
        device: `cuda`, `mps`, `cpu` or as torch spells it; by default the best there is.
        precision: `float32`, `bfloat16` or `float16`, the last two as autocast over float32
            weights; by default bfloat16 on CUDA and float32 elsewhere.

    Raises:
        ValueError: the spec, device or precision is none there is; the message has near matches.
        EncoderError: weights are missing, unreadable or do not fit the model.
    """
    from ipo_dspy.encoders.device import choose_device, choose_precision

    _check_scheme(spec)
    chosen_device = choose_device(device)
    chosen_precision = choose_precision(precision, chosen_device)
    key = (spec, str(chosen_device), chosen_precision)
    with _lock:
        encoder = _loaded.get(key)
        if encoder is None:
            encoder = _load(spec, str(chosen_device), chosen_precision)
            _loaded[key] = encoder
        return encoder


def _load(spec: str, device: str, precision: str) -> DualEncoder:
    if spec.startswith("hf:"):
        from ipo_dspy.encoders.transformers import load_transformers_encoder

        return load_transformers_encoder(spec, device=device, precision=precision)

    from ipo_dspy.encoders.open_clip import OpenCLIPEncoder, load_open_clip_encoder

    if spec == "demo":
        from ipo_dspy.demo.encoder import load_demo_model

        return OpenCLIPEncoder("demo", *load_demo_model(), device=device, precision=precision)
    return load_open_clip_encoder(spec, device=device, precision=precision)


def _check_scheme(spec: str) -> None:
    if spec == "demo" or spec.startswith(_SCHEMES[1:]):
        return
    scheme = spec.partition(":")[0].lower()
    near = get_close_matches(f"{scheme}:", _SCHEMES) or get_close_matches(scheme, _SCHEMES)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"{spec!r} names no encoder; {hint}write {_FORMS}")
