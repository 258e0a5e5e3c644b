"""Encoders of open_clip: any of its architectures, with a pretrained tag or a checkpoint file."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, is_zipfile

import open_clip
from open_clip.factory import HF_HUB_PREFIX, LOCAL_DIR_PREFIX
from open_clip.pretrained import download_pretrained, get_pretrained_cfg
from open_clip.tokenizer import HFTokenizer, SigLipTokenizer, SimpleTokenizer
from safetensors import SafetensorError
from torch import Tensor, nn

from ipo_dspy.encoders.dual_encoder import DualEncoder
from ipo_dspy.encoders.fast.open_clip import read_open_clip_text_tower
from ipo_dspy.encoders.hub import quick_hub
from ipo_dspy.errors import ArgumentError, EncoderError

if TYPE_CHECKING:
    import PIL.Image

    from ipo_dspy.encoders.fast.tower import CausalTextTower

_SCHEME = "open_clip:"
_LOADING_ERRORS = (OSError, RuntimeError, ValueError, KeyError, UnpicklingError, SafetensorError)


class OpenCLIPEncoder(DualEncoder):
    """A model of open_clip with its preprocessing and its tokenizer.

    Args:
        spec: the text that rebuilds it through `load_encoder`.
        model: as `open_clip.create_model` makes it.
        preprocess: one PIL image to [3, H, W].
        tokenizer: as `open_clip.get_tokenizer` makes it.
        device: as torch spells it.
        precision: `float32`, `bfloat16` or `float16`.
    """

    def __init__(
        self,
        spec: str,
        model: nn.Module,
        preprocess: Callable[[PIL.Image.Image], Tensor],
        tokenizer: Any,
        *,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        context_length = int(tokenizer.context_length)
        super().__init__(
            spec, model, context_length=context_length, device=device, precision=precision
        )
        self._preprocess = preprocess
        self.tokenizer = tokenizer
        # The fast tokenizers of Hugging Face cannot be borrowed by two threads at once.
        self._tokenizer_lock = threading.Lock()

    @property
    def preprocessing(self) -> str:
        """How images are prepared, as open_clip describes it."""
        settings = getattr(self.model.visual, "preprocess_cfg", None) or {}
        return json.dumps({key: str(value) for key, value in settings.items()}, sort_keys=True)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, start and end included, never truncated."""
        with self._tokenizer_lock:
            return [_count_tokens(self.tokenizer, text) for text in texts]

    def prepare_image(self, image: PIL.Image.Image) -> Tensor:
        """Prepare one RGB image for `encode_prepared`: [1, 3, H, W]."""
        return self._preprocess(image)[None]

    def _image_tower(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.model.encode_image(pixels)  # type: ignore[operator]
        return features

    def _tokenize(self, texts: Sequence[str]) -> Tensor:
        with self._tokenizer_lock:
            tokens: Tensor = self.tokenizer(list(texts))
        return tokens

    def _text_tower(self, tokens: Tensor) -> Tensor:
        features: Tensor = self.model.encode_text(tokens)  # type: ignore[operator]
        return features

    def _read_text_tower(self) -> CausalTextTower | None:
        return read_open_clip_text_tower(self.model)

    def _scale_and_bias(self) -> tuple[Tensor, Tensor | None]:
        scale: Tensor = self.model.logit_scale  # type: ignore[assignment]
        bias: Tensor | None = getattr(self.model, "logit_bias", None)
        return scale.exp(), bias


def load_open_clip_encoder(spec: str, *, device: str, precision: str) -> OpenCLIPEncoder:
    """Load `open_clip:MODEL/PRETRAINED`, `open_clip:MODEL/FILE` or `open_clip:hf-hub:NAME`.

    Raises:
        ArgumentError: unknown model or tag, or weights made with the other GELU.
        EncoderError: weights are missing, unreadable or do not fit the model.
    """
    name, pretrained = _parse(spec.removeprefix(_SCHEME))
    if pretrained is None:
        spec = _SCHEME + name
    else:
        spec = f"{_SCHEME}{name}/{pretrained}"
        _refuse_wrong_gelu(name, pretrained)
    try:
        with quick_hub():
            if pretrained is not None:
                # Alone, this says what is missing; within create_model it also logs at the root.
                download_pretrained(get_pretrained_cfg(name, pretrained))
            # Unlike its sisters, this does not go on with random weights where there are none.
            model, preprocess = open_clip.create_model_from_pretrained(
                name, pretrained, device=device
            )
            tokenizer = open_clip.get_tokenizer(name)
    except _LOADING_ERRORS as error:
        raise EncoderError(_cannot_load(spec, name, error)) from error
    return OpenCLIPEncoder(spec, model, preprocess, tokenizer, device=device, precision=precision)


def _parse(text: str) -> tuple[str, str | None]:
    """Split into a model name and a pretrained tag or absolute file path, None where built in."""
    if text.startswith(LOCAL_DIR_PREFIX):
        folder = Path(text.removeprefix(LOCAL_DIR_PREFIX)).expanduser().resolve()
        return f"{LOCAL_DIR_PREFIX}{folder}", None
    if text.startswith(HF_HUB_PREFIX):
        return text, None
    models = open_clip.list_models()
    for name, pretrained in _splits(text):
        # OpenAI's spelling is ViT-B/16, open_clip's is ViT-B-16.
        name = name.replace("/", "-")
        if name in models and pretrained:
            return name, _tag_or_file(name, pretrained)
        if name in models:
            tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "a checkpoint file"
            raise ArgumentError(
                f"'open_clip:{name}' says no weights; write 'open_clip:{name}/' and {tags}"
            )
    name = text.partition("/")[0]
    near = get_close_matches(name, models, n=5, cutoff=0.5)
    hint = f"near matches: {', '.join(near)}" if near else "see open_clip.list_models()"
    raise ArgumentError(f"open_clip has no model {name!r}; {hint}")


def _splits(text: str) -> Iterator[tuple[str, str]]:
    parts = text.split("/")
    for length in range(1, len(parts) + 1):
        yield "/".join(parts[:length]), "/".join(parts[length:])


def _tag_or_file(name: str, pretrained: str) -> str:
    if get_pretrained_cfg(name, pretrained):
        return pretrained
    if Path(pretrained).expanduser().is_file():
        return str(Path(pretrained).expanduser().resolve())
    base = name.removesuffix("-quickgelu")
    for sibling in (base, f"{base}-quickgelu"):
        if get_pretrained_cfg(sibling, pretrained):
            raise _wrong_gelu(name, pretrained, sibling)
    if os.sep in pretrained or Path(pretrained).suffix:
        raise ArgumentError(f"there is no checkpoint file {pretrained!r} for open_clip's {name}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    near = get_close_matches(pretrained, tags, n=5, cutoff=0.4) or tags
    raise ArgumentError(
        f"open_clip has no weights {pretrained!r} for {name}; it has {', '.join(near) or 'none'}. "
        f"Write 'open_clip:{name}/' and one of them, or the path of a checkpoint file."
    )


def _refuse_wrong_gelu(name: str, pretrained: str) -> None:
    """Refuse weights whose GELU is not the model's: features would be wrong without a sign."""
    needed = _needs_quick_gelu(name, pretrained)
    has = bool(open_clip.get_model_config(name).get("quick_gelu", False))
    if needed is None or needed == has:
        return
    base = name.removesuffix("-quickgelu")
    raise _wrong_gelu(name, pretrained, f"{base}-quickgelu" if needed else base)


def _needs_quick_gelu(name: str, pretrained: str) -> bool | None:
    """Whether weights were made with QuickGELU; None where nothing tells."""
    tag = get_pretrained_cfg(name, pretrained)
    if tag:
        return bool(tag.get("quick_gelu", False))
    file = Path(pretrained)
    beside = file.with_name("open_clip_config.json")
    if beside.is_file():
        settings = json.loads(beside.read_text(encoding="utf-8")).get("model_cfg", {})
        return bool(settings.get("quick_gelu", False))
    if _is_openai_archive(file):
        return True
    for known in _known_weights(name):
        if known["file"] and known["file"] in (file.name, *file.parts):
            return bool(known["quick_gelu"])
    return None


def _is_openai_archive(file: Path) -> bool:
    """Whether it is a TorchScript archive, the form in which OpenAI published its weights."""
    if not is_zipfile(file):
        return False
    with ZipFile(file) as archive:
        return any("/code/" in member for member in archive.namelist())


def _known_weights(name: str) -> Iterator[dict[str, Any]]:
    """The published weights of a model: how their file, or folder in the hub cache, is called."""
    base = name.removesuffix("-quickgelu")
    for model in (base, f"{base}-quickgelu"):
        for tag in open_clip.list_pretrained_tags_by_model(model):
            settings = get_pretrained_cfg(model, tag)
            quick_gelu = settings.get("quick_gelu", False)
            yield {"file": Path(settings.get("url", "")).name, "quick_gelu": quick_gelu}
            repository = settings.get("hf_hub", "").strip("/")
            folder = "models--" + repository.replace("/", "--") if repository else ""
            yield {"file": folder, "quick_gelu": quick_gelu}


def _wrong_gelu(name: str, pretrained: str, right: str) -> ValueError:
    made_with, has = (
        ("QuickGELU", "GELU") if right.endswith("-quickgelu") else ("GELU", "QuickGELU")
    )
    return ValueError(
        f"the weights {pretrained!r} were trained with {made_with}, but {name} computes {has}; "
        f"use 'open_clip:{right}/{pretrained}'"
    )


def _count_tokens(tokenizer: Any, text: str) -> int:
    if isinstance(tokenizer, SimpleTokenizer):
        return len(tokenizer.encode(text)) + 2
    if isinstance(tokenizer, SigLipTokenizer):
        from open_clip.tokenizer import basic_clean, canonicalize_text

        return len(tokenizer.tokenizer(canonicalize_text(basic_clean(text))).input_ids)
    if isinstance(tokenizer, HFTokenizer):
        clean = tokenizer.clean_fn(text)
        if tokenizer.tokenizer_mode == "clips":
            # Start and end of the text, and the class token after the padding.
            return len(tokenizer.tokenizer(clean, add_special_tokens=False).input_ids) + 3
        return len(tokenizer.tokenizer(clean).input_ids)
    raise EncoderError(f"cannot count the tokens of a {type(tokenizer).__name__}")


def _cannot_load(spec: str, name: str, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0].partition(". ")[0]
    advice = "check the name and the network connection"
    if name.startswith(LOCAL_DIR_PREFIX):
        advice = "check that the folder holds open_clip_config.json and the weights of its model"
    elif isinstance(error, (SafetensorError, UnpicklingError)) or "state_dict" in reason:
        advice = f"check that the file holds weights of {name}"
    return f"{spec} cannot be loaded: {reason.rstrip('.')}; {advice}"
