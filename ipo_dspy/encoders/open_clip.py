"""Encoders of open_clip: any of its architectures, with a pretrained tag or a checkpoint file."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZipFile, is_zipfile

import open_clip
from torch import Tensor, nn

from ipo_dspy.encoders.checkpoints import check_depth, describe_misfit
from ipo_dspy.encoders.dual_encoder import DualEncoder, check_texts, frozen
from ipo_dspy.encoders.offline import TRUST_ADVICE, cached_first, is_offline
from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.errors.arguments import checked
from ipo_dspy.upstream.open_clip_parts import (
    HF_HUB_PREFIX,
    LOCAL_DIR_PREFIX,
    HFTokenizer,
    SigLipTokenizer,
    SimpleTokenizer,
    basic_clean,
    canonicalize_text,
    download_pretrained,
    get_pretrained_cfg,
)
from ipo_dspy.upstream.transformers_parts import asks_for_code, remote_code

if TYPE_CHECKING:
    import PIL.Image

_SCHEME = "open_clip:"
_TOKENIZER_SETTINGS = {
    "additional_special_tokens",
    "clean",
    "language",
    "lower",
    "reduction_mask",
    "strip_sep_token",
    "use_fast",
}
"""What a config from outside may say of its tokenizer: words and flags, nothing that loads code."""
_SETTINGS = "open_clip_config.json"


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

    @checked
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

    def _scale_and_bias(self) -> tuple[Tensor, Tensor | None]:
        scale: Tensor = self.model.logit_scale  # type: ignore[assignment]
        bias: Tensor | None = getattr(self.model, "logit_bias", None)
        return scale.exp(), bias


def load_open_clip_encoder(
    spec: str, *, device: str, precision: str, trust_remote_code: bool = False
) -> OpenCLIPEncoder:
    """Load `open_clip:MODEL/PRETRAINED`, `open_clip:MODEL/FILE` or `open_clip:hf-hub:NAME`.

    Args:
        spec: the spec.
        device: as torch spells it.
        precision: `float32`, `bfloat16` or `float16`.
        trust_remote_code: let a tokenizer bring code.

    Raises:
        ArgumentError: unknown model or tag, or weights made with the other GELU.
        EncoderError: weights are missing, unreadable or do not fit the model, or a config asks for
            code.
    """
    name, pretrained = _parse(spec.removeprefix(_SCHEME))
    if pretrained is None:
        spec = _SCHEME + name
    else:
        spec = f"{_SCHEME}{name}/{pretrained}"
        _refuse_wrong_gelu(name, pretrained)
    try:
        with remote_code(trusted=trust_remote_code):
            model, preprocess, tokenizer = cached_first(
                lambda: _load(name, pretrained, trust_remote_code)
            )
        encoder = OpenCLIPEncoder(
            spec, frozen(model, device), preprocess, tokenizer, device=device, precision=precision
        )
        check_texts(encoder)
    except EncoderError:
        raise
    # A damaged or hostile folder makes the libraries raise anything.
    except Exception as error:
        raise EncoderError(_cannot_load(spec, name, pretrained, error)) from error
    return encoder


def _load(
    name: str, pretrained: str | None, trust_remote_code: bool
) -> tuple[nn.Module, Callable[[PIL.Image.Image], Tensor], Any]:
    config = open_clip.get_model_config(name)
    _check_config(config, trust_remote_code)
    if pretrained is not None:
        known = get_pretrained_cfg(name, pretrained)
        _refuse_download(known)
        # Alone, this says what is missing; within create_model it also logs at the root.
        download_pretrained(known)
    # Unlike its sisters, this does not go on with random weights where there are none.
    model, preprocess = open_clip.create_model_from_pretrained(name, pretrained)
    settings = {"trust_remote_code": trust_remote_code} if _has_hf_tokenizer(config) else {}
    return model, preprocess, open_clip.get_tokenizer(name, **settings)


def _has_hf_tokenizer(config: Any) -> bool:
    return bool(config["text_cfg"].get("hf_tokenizer_name"))


def _check_config(config: Any, trust_remote_code: bool) -> None:
    """Refuse what is no config, and what would run code that comes with it.

    Raises:
        ValueError: it is none, or asks for more than words and flags.
    """
    if not isinstance(config, dict) or not all(
        isinstance(config.get(part), dict) for part in ("text_cfg", "vision_cfg")
    ):
        raise ArgumentError(f"{_SETTINGS} describes no model: it needs text_cfg and vision_cfg")
    check_depth(config)
    text = config["text_cfg"]
    settings = text.get("tokenizer_kwargs") or {}
    if not isinstance(settings, dict) or settings.keys() - _TOKENIZER_SETTINGS:
        asked = ", ".join(sorted(settings)) if isinstance(settings, dict) else str(settings)
        raise ArgumentError(
            f"its config gives the tokenizer settings that may load code, tokenizer_kwargs {asked}"
        )
    if text.get("hf_model_name") and not trust_remote_code:
        from transformers import AutoConfig

        # open_clip would ask on the terminal whether to run the code.
        AutoConfig.from_pretrained(text["hf_model_name"], trust_remote_code=False)


def _refuse_download(tag: dict[str, Any]) -> None:
    """Where nothing may be fetched, refuse weights that are neither here nor on the hub.

    Raises:
        FileNotFoundError: the file is not here.
    """
    url = tag.get("url")
    if url and not tag.get("hf_hub") and is_offline():
        file = Path("~/.cache/clip").expanduser() / Path(url).name
        if not file.is_file():
            raise FileNotFoundError(f"{file} is not there")


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


def _wrong_gelu(name: str, pretrained: str, right: str) -> ArgumentError:
    made_with, has = (
        ("QuickGELU", "GELU") if right.endswith("-quickgelu") else ("GELU", "QuickGELU")
    )
    return ArgumentError(
        f"the weights {pretrained!r} were trained with {made_with}, but {name} computes {has}; "
        f"use 'open_clip:{right}/{pretrained}'"
    )


def _count_tokens(tokenizer: Any, text: str) -> int:
    if isinstance(tokenizer, SimpleTokenizer):
        return len(tokenizer.encode(text)) + 2
    if isinstance(tokenizer, SigLipTokenizer):
        return len(tokenizer.tokenizer(canonicalize_text(basic_clean(text))).input_ids)
    if isinstance(tokenizer, HFTokenizer):
        clean = tokenizer.clean_fn(text)
        if tokenizer.tokenizer_mode == "clips":
            # Start and end of the text, and the class token after the padding.
            return len(tokenizer.tokenizer(clean, add_special_tokens=False).input_ids) + 3
        return len(tokenizer.tokenizer(clean).input_ids)
    raise EncoderError(f"cannot count the tokens of a {type(tokenizer).__name__}")


def _cannot_load(spec: str, name: str, pretrained: str | None, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0].partition(". ")[0] or type(error).__name__
    advice = "check the name and the network connection"
    file = Path(pretrained) if pretrained else None
    if asks_for_code(error):
        reason, advice = "its files bring code, which does not run", TRUST_ADVICE
    elif name.startswith(LOCAL_DIR_PREFIX):
        advice = f"check that the folder holds {_SETTINGS} and the weights of its model"
    elif file is not None and file.is_file():
        reason = describe_misfit(file, lambda: open_clip.create_model(name)) or reason
        advice = f"check that the file holds weights of {name}"
    elif is_offline():
        advice = "nothing is fetched, so put its files into the hub's cache, or allow the network"
    return f"{spec} cannot be loaded: {reason.rstrip('.')}; {advice}"
