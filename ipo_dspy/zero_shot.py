"""The zero-shot classifier of one encoder: features kept, templates turned into logits."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

from ipo_dspy.data.images import image_key, open_image
from ipo_dspy.template import Template

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from ipo_dspy.encoders.base import Encoder

_V = TypeVar("_V")

IMAGE_MEMORY = 65_536
"""Most image features kept in memory for single predictions."""
TEXT_MEMORY = 128
"""Most templates whose text features are kept."""


class Probabilities(NamedTuple):
    """The class probabilities of one image: `values` is [C] float32, one per class name."""

    classnames: tuple[str, ...]
    values: np.ndarray[Any, Any]

    def of(self, label: str) -> float:
        """Give the probability of a class.

        Raises:
            ValueError: the label is none of the class names.
        """
        return float(self.values[class_index(self.classnames, label)])


class ZeroShot:
    """Encodes images and templates once and compares them.

    Safe to use from several threads. Copies of a program share it: copying returns the same object.
    """

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._lock = threading.RLock()
        self._images: _Memory[Tensor] = _Memory(IMAGE_MEMORY)
        self._texts: _Memory[Tensor] = _Memory(TEXT_MEMORY)

    def __deepcopy__(self, memo: object) -> ZeroShot:
        return self

    def __copy__(self) -> ZeroShot:
        return self

    def __reduce__(self) -> tuple[type[ZeroShot], tuple[Encoder]]:
        return (ZeroShot, (self.encoder,))

    def image_features(self, images: Sequence[object]) -> Tensor:
        """Encode images, each once: [N, D] unit length."""
        import torch

        with self._lock, torch.inference_mode():
            keys = [image_key(image) for image in images]
            new = {
                key: image
                for key, image in zip(keys, images, strict=True)
                if key not in self._images
            }
            known = {key: self._images[key] for key in keys if key in self._images}
            if new:
                features = self.encoder.encode_images([open_image(image) for image in new.values()])
                known |= dict(zip(new, features, strict=True))
                for key in new:
                    self._images[key] = known[key]
            return torch.stack([known[key] for key in keys])

    def text_features(self, template: Template, classnames: Sequence[str]) -> Tensor:
        """Encode a template filled with every class name: [C, D] unit length."""
        return self.text_features_of([template], classnames)[0]

    def text_features_of(
        self, templates: Sequence[Template], classnames: Sequence[str]
    ) -> list[Tensor]:
        """Encode several templates; each one's [C, D] features do not depend on the others."""
        import torch

        with self._lock, torch.inference_mode():
            keys = [(template.text, tuple(classnames)) for template in templates]
            result = {key: self._texts[key] for key in keys if key in self._texts}
            new = {
                key: template
                for key, template in zip(keys, templates, strict=True)
                if key not in result
            }
            encoded = self._encode(list(new.values()), classnames) if new else []
            for key, features in zip(new, encoded, strict=True):
                result[key] = self._texts[key] = features
            return [result[key] for key in keys]

    def _encode(self, templates: Sequence[Template], classnames: Sequence[str]) -> list[Tensor]:
        filled = [[template.fill(name) for name in classnames] for template in templates]
        groups = [
            [texts[line] for texts in of_template]
            for template, of_template in zip(templates, filled, strict=True)
            for line in range(len(template.lines))
        ]
        encoder = self.encoder
        features = iter(
            encoder.encode_templates(groups)
            if isinstance(encoder, EncodesTemplates)
            else [encoder.encode_texts(group) for group in groups]
        )
        return [_ensemble([next(features) for _ in template.lines]) for template in templates]

    def logits(self, image_features: Tensor, text_features: Tensor) -> Tensor:
        """Compare features: [N, D] and [C, D] give [N, C]."""
        import torch

        with torch.inference_mode():
            return self.encoder.logits(image_features, text_features).float().cpu()

    def count_tokens(self, template: Template, classnames: Sequence[str]) -> int:
        """Count the tokens of the longest text the template gives, start and end included."""
        texts = [text for name in classnames for text in template.fill(name)]
        return max(self.encoder.count_tokens(texts))


@runtime_checkable
class EncodesTemplates(Protocol):
    """What an encoder may offer beside the protocol: many templates in one go."""

    def encode_templates(self, groups: Sequence[Sequence[str]]) -> Tensor:
        """Encode groups of texts, one group per template: [G, C, D] unit length."""


def class_index(classnames: Sequence[str], label: object) -> int:
    """Find a label among the class names.

    Raises:
        ValueError: the label is none of them.
    """
    for index, name in enumerate(classnames):
        if name == label:
            return index
    some = ", ".join(classnames[:5])
    raise ValueError(
        f"The label {label!r} is none of the {len(classnames)} class names ({some}, ...). "
        "Labels must be spelt as in CLIPClassifier(classnames=...)."
    )


def _ensemble(features: Sequence[Tensor]) -> Tensor:
    import torch

    if len(features) == 1:
        return features[0]
    return torch.nn.functional.normalize(torch.stack(list(features)).mean(dim=0), dim=-1)


class _Memory(Generic[_V]):
    """A dictionary that forgets what was stored or read longest ago."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: OrderedDict[Hashable, _V] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def __getitem__(self, key: Hashable) -> _V:
        self._items.move_to_end(key)
        return self._items[key]

    def __setitem__(self, key: Hashable, value: _V) -> None:
        self._items[key] = value
        if len(self._items) > self._size:
            self._items.popitem(last=False)
