"""How good a template is on images that no optimizer saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.tasks import Task
from ipo_dspy.data import LabeledImages
from ipo_dspy.template import Template
from ipo_dspy.zero_shot import ZeroShot, class_indices, image_chunks

Hits: TypeAlias = npt.NDArray[np.bool_]
"""For each test image, whether it was classified rightly."""


def harmonic_mean(base: float, novel: float) -> float:
    """H of the base-to-novel protocol; 0 where one of them is 0."""
    return 2 * base * novel / (base + novel) if base + novel else 0.0


@dataclass(frozen=True)
class Verdict:
    """Test results of one text, image by image."""

    base: Hits
    novel: Hits

    @property
    def accuracies(self) -> tuple[float, float, float]:
        """Base, novel and H in percent."""
        base, novel = 100 * float(self.base.mean()), 100 * float(self.novel.mean())
        return base, novel, harmonic_mean(base, novel)


class Judge:
    """Judges templates on the test images of one task, which it encodes once.

    Memory is bounded whatever the number of images.
    """

    def __init__(self, task: Task, zero_shot: ZeroShot) -> None:
        self._zero_shot = zero_shot
        self._parts = [_Part(task.base, zero_shot), _Part(task.novel, zero_shot)]

    def judge(self, *texts: str) -> Verdict:
        """Judge a template; several are one ensemble."""
        template = Template("\n".join(texts))
        base, novel = (part.hits(template) for part in self._parts)
        return Verdict(base, novel)


class _Part:
    def __init__(self, images: LabeledImages, zero_shot: ZeroShot) -> None:
        self._zero_shot = zero_shot
        self._classnames = images.classnames
        self._features = zero_shot.many_image_features([e.image for e in images.examples])
        labels = [example.label for example in images.examples]
        self._labels = torch.tensor(class_indices(images.classnames, labels))

    def hits(self, template: Template) -> Hits:
        texts = self._zero_shot.text_features(template, self._classnames)
        found = [
            self._zero_shot.logits(self._features[chunk], texts).argmax(dim=-1)
            for chunk in image_chunks(len(self._labels), len(self._classnames))
        ]
        hits: npt.NDArray[Any] = (torch.cat(found) == self._labels).numpy()
        return hits
