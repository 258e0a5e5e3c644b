"""The zero-shot classifier of one encoder: features kept, templates turned into logits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from cachetools import LRUCache

from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.features.backends import Backend, LocalBackend, gather, make_backend
from ipo_dspy.features.cache import CacheChoice, cache_folder, cache_limit
from ipo_dspy.images.image import ImageSource, image_key
from ipo_dspy.prompts.template import Template

if TYPE_CHECKING:
    from torch import Tensor

    from ipo_dspy.encoders.base import Encoder
    from ipo_dspy.features.store import FeatureStore, Filled

IMAGE_MEMORY = 65_536
"""Most image features kept in memory."""
TEXT_MEMORY = 65_536
"""Most text features kept in memory."""
TEXTS_AT_ONCE = 4096
"""Most texts for single classes that are encoded together."""
WORTH_KEEPING = 16
"""Fewer new images than these are encoded without a look at the disk."""
IMAGES_AT_ONCE = 1024
"""Most images whose logits are computed together; they fit into a core's cache."""
LOGITS_AT_ONCE = 2**22
"""About the most logits that are computed together."""
_FEWEST_AT_ONCE = 16


class Embedder:
    """Encodes images and templates once and compares them.

    Safe to use from several threads. Copies of a program share it: copying returns the same object.

    Args:
        encoder: the encoder; image features of a `CacheableEncoder` are kept on disk.
        cache: the folder to keep them in, or `off`; None takes what the environment says.
        backend: who embeds images, or the name of that; None embeds in this process. Fewer than 16
            new images are always embedded here.
        exact: give a template the same bits whatever others it is encoded with, on all machines;
            templates then share no passes, which takes up to twice as long where classes are few.
    """

    def __init__(
        self,
        encoder: Encoder,
        cache: CacheChoice = None,
        backend: Backend | str | None = None,
        *,
        exact: bool = False,
    ) -> None:
        self.encoder = encoder
        self._cache = cache
        self._backend = None if backend is None else make_backend(backend)
        self._exact = exact
        # Texts are encoded under their lock, images not: decoding them takes long.
        self._lock = threading.RLock()
        self._text_lock = threading.RLock()
        self._images: LRUCache[Hashable, Tensor] = LRUCache(IMAGE_MEMORY)
        self._texts: LRUCache[Hashable, Tensor] = LRUCache(TEXT_MEMORY, len)

    def __deepcopy__(self, memo: object) -> Embedder:
        return self

    def __copy__(self) -> Embedder:
        return self

    def __reduce__(self) -> tuple[Callable[..., Embedder], tuple[Any, ...]]:
        make = partial(Embedder, exact=self._exact)
        return (make, (self.encoder, self._cache, self._backend))

    @property
    def encoder_identity(self) -> str:
        """Tells encoders apart whose spec is the same: by weights, precision and preprocessing."""
        return str(getattr(self.encoder, "image_fingerprint", self.encoder.spec))

    def __run_identity__(self) -> dict[str, object]:
        """Known again by its encoder; what it has in memory makes no difference."""
        return {"encoder": self.encoder.spec, "encoder weights": self.encoder_identity}

    def image_features(self, images: Sequence[ImageSource]) -> Tensor:
        """Encode images, each once: [N, D] unit length, all in memory.

        Raises:
            ArgumentError: no images.
            UnreadableImage: an image cannot be read.
            EncoderError: features that are no numbers; the message names the image.
        """
        import torch

        if not images:
            raise ArgumentError("Expected at least one image, got none.")
        with _constants():
            keys = [image_key(image) for image in images]
            with self._lock:
                known = {key: self._images[key] for key in keys if key in self._images}
            new = {key: image for key, image in zip(keys, images, strict=True) if key not in known}
            if new:
                encoded = self._encode_images(list(new.values()))[:]
                # A view would keep all features of its batch in memory.
                known |= {key: row.clone() for key, row in zip(new, encoded, strict=True)}
                with self._lock:
                    self._images.update({key: known[key] for key in new})
            return torch.stack([known[key] for key in keys])

    def many_image_features(self, images: Sequence[ImageSource]) -> ImageFeatures:
        """Encode images, each once, whatever their number.

        Where they are too many for memory they stay on disk, and slices are read from there.

        Raises:
            See `image_features`.
        """
        if len(images) <= IMAGE_MEMORY:
            return self.image_features(images)
        with _constants():
            return self._encode_images(images)

    def _encode_images(self, images: Sequence[ImageSource]) -> ImageFeatures:
        from ipo_dspy.features.image_batches import encode_images

        if len(images) < WORTH_KEEPING:
            return encode_images(self.encoder, images)
        backend = self._backend or LocalBackend()
        if self._store is None:
            return gather(backend, self.encoder, images)
        return self._store.fetch(images, backend)

    def fill_store(
        self,
        images: Sequence[ImageSource],
        on_progress: Callable[[int], object] = lambda images: None,
    ) -> Filled:
        """Embed images for later, each that is not in the store yet; see `FeatureStore.fill`.

        Raises:
            ArgumentError: the encoder's features are not kept, or the cache is off.
            StorageError: features cannot be kept, or are more than may be kept.
            EncoderError: the encoder fails.
        """
        if self._store is None:
            raise ArgumentError(
                f"Features of {self.encoder.spec} are not kept: the cache is off, or the encoder "
                "does not tell its weights (`image_fingerprint`)."
            )
        with _constants():
            return self._store.fill(images, self._backend or LocalBackend(), on_progress)

    @contextmanager
    def backed_by(self, backend: Backend | str | None) -> Iterator[None]:
        """Let another backend embed for a while; None changes nothing."""
        before = self._backend
        if backend is not None:
            self._backend = make_backend(backend)
        try:
            yield
        finally:
            self._backend = before

    @cached_property
    def _store(self) -> FeatureStore | None:
        from ipo_dspy.features.store import CacheableEncoder, FeatureStore

        folder = cache_folder(self._cache)
        if folder is None or not isinstance(self.encoder, CacheableEncoder):
            return None
        return FeatureStore(folder, self.encoder, cache_limit())

    def text_features(self, template: Template, classnames: Sequence[str]) -> Tensor:
        """Encode a template filled with every class name: [C, D] unit length."""
        return self.text_features_of([template], classnames)[0]

    def text_features_of(
        self, templates: Sequence[Template], classnames: Sequence[str]
    ) -> list[Tensor]:
        """Encode several templates: [C, D] each.

        Those of the built-in encoders do not depend on the others but, on some machines, for the
        last bits; see `exact`.

        Raises:
            ArgumentError: no class names, or a text that is too long.
            EncoderError: features that are no numbers; the message names the text.
        """
        if not classnames:
            raise ArgumentError("Expected at least one class name, got none.")
        with self._text_lock, _constants():
            keys = [(template.text, tuple(classnames)) for template in templates]
            known = {key: self._texts[key] for key in keys if key in self._texts}
            new = {
                key: template
                for key, template in zip(keys, templates, strict=True)
                if key not in known
            }
            encoded = self._encode_texts(list(new.values()), classnames) if new else []
            for key, features in zip(new, encoded, strict=True):
                known[key] = features.clone()
                if len(features) <= self._texts.maxsize:
                    self._texts[key] = known[key]
            return [known[key] for key in keys]

    def class_features(self, texts: Sequence[Sequence[str]]) -> Tensor:
        """Encode classes by the mean unit features of several texts each: [C, D] unit length.

        Args:
            texts: of each class, at least one.

        Raises:
            ArgumentError: no classes, a class without a text, or a text that is too long.
            EncoderError: features that are no numbers; the message names the text.
        """
        import torch

        if not texts or not all(texts):
            raise ArgumentError("Expected at least one class, and a text for each.")
        key = tuple(map(tuple, texts))
        with self._text_lock, _constants():
            if key not in self._texts:
                flat = [text for of_class in texts for text in of_class]
                encoded = torch.cat([self._checked(part) for part in _parts(flat)])
                means = [part.mean(dim=0) for part in encoded.split(list(map(len, texts)))]
                features = torch.nn.functional.normalize(torch.stack(means), dim=-1)
                if len(features) > self._texts.maxsize:
                    return features
                self._texts[key] = features
            return self._texts[key]

    def _checked(self, texts: Sequence[str]) -> Tensor:
        features = self.encoder.encode_texts(texts)
        self._refuse_nan(texts, features)
        return features

    def _encode_texts(
        self, templates: Sequence[Template], classnames: Sequence[str]
    ) -> list[Tensor]:
        filled = [[template.fill(name) for name in classnames] for template in templates]
        groups = [
            [texts[line] for texts in of_template]
            for template, of_template in zip(templates, filled, strict=True)
            for line in range(len(template.lines))
        ]
        encoder = self.encoder
        options = {"exact": True} if self._exact else {}
        encoded = list(
            encoder.encode_templates(groups, **options)
            if isinstance(encoder, EncodesTemplates)
            else map(encoder.encode_texts, groups)
        )
        for group, features in zip(groups, encoded, strict=True):
            self._refuse_nan(group, features)
        lines = iter(encoded)
        return [_ensemble([next(lines) for _ in template.lines]) for template in templates]

    def _refuse_nan(self, texts: Sequence[str], features: Tensor) -> None:
        for index in (~features.isfinite().all(dim=1)).nonzero().flatten().tolist():
            raise EncoderError(
                f"{self.encoder.spec} gives no finite features for the text {texts[index]!r}; "
                "check its weights, or its precision"
            )

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Compare features: [N, D] and [C, D] give [N, C], on the CPU.

        They carry a graph where the features do. Beside others an image gets what it gets alone, on
        most machines to the last bit.
        """
        import torch

        from ipo_dspy.encoders.parallel import parallel_map

        chunks = image_chunks(len(image_features), len(text_features))
        parts = parallel_map(
            [partial(self._logits, image_features[chunk], text_features) for chunk in chunks]
        )
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        import torch

        count = len(image_features)
        if count < _FEWEST_AT_ONCE:
            # For few rows, matrix libraries add up in another order, which moves the last bit.
            padding = (0, 0, 0, _FEWEST_AT_ONCE - count)
            image_features = torch.nn.functional.pad(image_features, padding)
        return self.encoder.logits(image_features, text_features)[:count].float().cpu()

    @property
    def context_length(self) -> int:
        """Most tokens a text may have, start and end included."""
        return self.encoder.context_length

    @cached_property
    def keeps_case(self) -> bool:
        """Whether the encoder tells texts apart that differ in letter case alone."""
        import torch

        with torch.inference_mode():
            small, large = self.encoder.encode_texts(["a photo of a cat.", "A Photo Of A CAT."])
        return not torch.equal(small, large)

    def count_tokens(self, template: Template, classnames: Sequence[str]) -> int:
        """Count the tokens of the longest text the template gives, start and end included."""
        texts = [text for name in classnames for text in template.fill(name)]
        return max(self.encoder.count_tokens(texts))


class ImageFeatures(Protocol):
    """Features of images in order, in memory or not; a tensor is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, images: slice, /) -> Tensor:
        """The features of a range of images: [n, D]."""


@runtime_checkable
class EncodesTemplates(Protocol):
    """What an encoder may offer beside the protocol: many templates in one go."""

    def encode_templates(self, groups: Sequence[Sequence[str]], **options: bool) -> Tensor:
        """Encode groups of texts, one group per template: [G, C, D] unit length.

        Args:
            groups: of one size.
            options: `exact=True` where the last bits may not depend on the other groups; an encoder
                that is never asked for that need not take it.
        """


def image_chunks(images: int, classes: int) -> Iterator[slice]:
    """Divide images into ranges whose logits are computed together, to bound the memory.

    They depend on these two numbers alone, so that scores do not depend on the machine's memory.
    """
    size = min(IMAGES_AT_ONCE, max(_FEWEST_AT_ONCE, LOGITS_AT_ONCE // classes))
    for start in range(0, images, size):
        yield slice(start, min(start + size, images))


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Divide texts into those that are encoded together, to bound the memory."""
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        yield texts[start : start + TEXTS_AT_ONCE]


@contextmanager
def _constants() -> Iterator[None]:
    """Make tensors without a graph that may be a constant in one, whatever mode the caller is in.

    Tensors that are made in inference mode may not, and features outlive the call that made them.
    """
    import torch

    with torch.inference_mode(False), torch.no_grad():
        yield


def _ensemble(features: Sequence[Tensor]) -> Tensor:
    import torch

    if len(features) == 1:
        return features[0]
    return torch.nn.functional.normalize(torch.stack(list(features)).mean(dim=0), dim=-1)
