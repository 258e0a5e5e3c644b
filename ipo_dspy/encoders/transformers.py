"""Encoders of transformers: CLIP, SigLIP and SigLIP 2, by hub name or from a folder."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoProcessor
from transformers.utils import logging

from ipo_dspy.encoders.checkpoints import check_depth
from ipo_dspy.encoders.dual_encoder import DualEncoder, check_texts, frozen
from ipo_dspy.encoders.offline import TRUST_ADVICE, cached_first
from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.errors.arguments import checked
from ipo_dspy.upstream.transformers_parts import asks_for_code, remote_code

if TYPE_CHECKING:
    import PIL.Image

FAMILIES = ("clip", "metaclip_2", "siglip", "siglip2")
"""The values of `model_type` that load: their text towers read token ids and nothing else."""

_SCHEME = "hf:"
_EXAMPLES = "'hf:openai/clip-vit-large-patch14' or 'hf:google/siglip-base-patch16-224'"


class TransformersEncoder(DualEncoder):
    """A model of transformers with its image processor and its tokenizer.

    Texts are padded to the longest there may be: SigLIP reads the padding too, as in training.

    Args:
        spec: the text that rebuilds it through `load_encoder`.
        model: as `AutoModel` makes it, of one of `FAMILIES`.
        processor: as `AutoProcessor` makes it.
        device: as torch spells it.
        precision: `float32`, `bfloat16` or `float16`.
    """

    def __init__(
        self,
        spec: str,
        model: Any,
        processor: Any,
        *,
        device: str = "cpu",
        precision: str = "float32",
    ) -> None:
        positions: int = model.config.text_config.max_position_embeddings
        context_length = min(positions, processor.tokenizer.model_max_length)
        super().__init__(
            spec, model, context_length=context_length, device=device, precision=precision
        )
        self._is_siglip = model.config.model_type.startswith("siglip")
        self._image_processor = processor.image_processor
        self._tokenizer = processor.tokenizer
        # The fast tokenizers of Hugging Face cannot be borrowed by two threads at once.
        self._tokenizer_lock = threading.Lock()

    @property
    def preprocessing(self) -> str:
        """How images are prepared, as transformers describes it."""
        return json.dumps(self._image_processor.to_dict(), sort_keys=True, default=str)

    def as_read(self, text: str) -> str:
        """Write a text as the model reads it: SigLIP's without punctuation, in lower case.

        So open_clip's tokenizers have it for the same weights; those of transformers leave SigLIP 2
        its punctuation, and their earlier versions its capitals too.
        """
        if not self._is_siglip:
            return text
        from ipo_dspy.upstream.open_clip_parts import basic_clean, canonicalize_text

        return str(canonicalize_text(basic_clean(text)))

    @checked
    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, start and end included, never truncated."""
        if not texts:
            return []
        read = list(map(self.as_read, texts))
        with self._tokenizer_lock:
            found = self._tokenizer(read, padding=False, truncation=False, verbose=False)
        return [len(ids) for ids in found.input_ids]

    def prepare_image(self, image: PIL.Image.Image) -> Any:
        """Prepare one RGB image as the library's batch; that of SigLIP 2 may hold masks too."""
        return self._image_processor(images=[image], return_tensors="pt")

    def _image_tower(self, pixels: Any) -> Tensor:
        return _pooled(self.model.get_image_features(**pixels))  # type: ignore[operator]

    def _tokenize(self, texts: Sequence[str]) -> Tensor:
        read = list(map(self.as_read, texts))
        with self._tokenizer_lock:
            found = self._tokenizer(
                read,
                padding="max_length",
                truncation=True,
                max_length=self.context_length,
                return_tensors="pt",
            )
        tokens: Tensor = found.input_ids
        return tokens

    def _text_tower(self, tokens: Tensor) -> Tensor:
        return _pooled(self.model.get_text_features(tokens))  # type: ignore[operator]

    def _scale_and_bias(self) -> tuple[Tensor, Tensor | None]:
        scale: Tensor = self.model.logit_scale  # type: ignore[assignment]
        bias: Tensor | None = getattr(self.model, "logit_bias", None)
        return scale.exp(), bias


def load_transformers_encoder(
    spec: str, *, device: str, precision: str, trust_remote_code: bool = False
) -> TransformersEncoder:
    """Load `hf:NAME` or `hf:NAME@REVISION` from the hub, or `hf:FOLDER`; safetensors alone.

    Args:
        spec: the spec.
        device: as torch spells it.
        precision: `float32`, `bfloat16` or `float16`.
        trust_remote_code: let model and processors bring code.

    Raises:
        ArgumentError: neither a folder that is there nor a name.
        EncoderError: weights are missing, unreadable or of a model that is no such encoder.
    """
    name, revision = _parse(spec.removeprefix(_SCHEME))
    is_folder = Path(name).is_absolute()
    spec = f"{_SCHEME}{name}@{revision}" if revision else _SCHEME + name
    options = {"trust_remote_code": trust_remote_code, "revision": revision or "main"}
    try:
        with _quiet(), remote_code(trusted=trust_remote_code):
            model, processor = cached_first(lambda: _load(name, options))
        encoder = TransformersEncoder(
            spec, frozen(model, device), processor, device=device, precision=precision
        )
        check_texts(encoder)
    except EncoderError:
        raise
    # A damaged or hostile folder makes the library raise anything.
    except Exception as error:
        raise EncoderError(_cannot_load(spec, is_folder, error)) from error
    return encoder


def _parse(text: str) -> tuple[str, str]:
    """The absolute path of a folder, or a name on the hub and its revision, where one is given."""
    folder = Path(text).expanduser()
    if text and folder.is_dir():
        return str(folder.resolve()), ""
    name, at, revision = text.partition("@")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ArgumentError(
            f"{text!r} is neither a folder that is there nor a name on the hub; write 'hf:' and "
            f"one of them, such as {_EXAMPLES}"
        ) from error
    if at and not revision:
        raise ArgumentError(
            f"{text!r} names no revision after the '@'; write a branch, a tag or a commit"
        )
    return name, revision


def _load(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    config = AutoConfig.from_pretrained(name, **options)
    check_depth(config.to_dict())
    if config.model_type not in FAMILIES:
        known = f"{', '.join(FAMILIES[:-1])} or {FAMILIES[-1]}"
        raise ArgumentError(f"it is a model of type {config.model_type!r}, not {known}")
    model, report = AutoModel.from_pretrained(
        name,
        config=config,
        use_safetensors=True,
        # Left to itself, the library prints a table of them.
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **options,
    )
    misfits = {*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}
    if misfits:
        raise ArgumentError(
            f"{len(misfits)} of its weights are missing or of another size, one of them "
            f"{min(misfits)!r}"
        )
    # Some are published at half precision; a lower one is chosen by autocast.
    processor = AutoProcessor.from_pretrained(name, **options)
    return model.float(), processor


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back the library's warnings: what makes a model useless is raised."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _pooled(output: Any) -> Tensor:
    """The features of `get_image_features` or `get_text_features`; before version 5 they are it."""
    features: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return features


def _cannot_load(spec: str, is_folder: bool, error: Exception) -> str:
    reason = str(error).strip().partition("\n")[0].partition(". ")[0].rstrip(".")
    if asks_for_code(error):
        reason, advice = "its files bring code, which does not run", TRUST_ADVICE
    elif isinstance(error, OSError) and not is_folder:
        advice = "check the name and the network connection"
    else:
        advice = (
            "use a CLIP, SigLIP or SigLIP 2 model whose model and processor were saved with "
            "save_pretrained, the weights as safetensors"
        )
    return f"{spec} cannot be loaded: {reason}; {advice}"
