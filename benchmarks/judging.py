"""How good a template is on images that no optimizer saw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ipo_dspy.features.embedder import Embedder
from ipo_dspy.images.task import Task
from ipo_dspy.prompts.template import Template
from ipo_dspy.scoring.comparison import Evaluator, harmonic_mean

Hits: TypeAlias = npt.NDArray[np.bool_]
"""For each test image, whether it was classified rightly."""


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
    """Judges templates on the test images of one task, which it encodes once."""

    def __init__(self, task: Task, embedder: Embedder) -> None:
        self._parts = [
            Evaluator(embedder, part) for part in (task.tests["base"], task.tests["novel"])
        ]

    def judge(self, *texts: str) -> Verdict:
        """Judge a template; several are one ensemble."""
        template = Template("\n".join(texts))
        base, novel = (np.array(part.evaluate([template])[0].hits) for part in self._parts)
        return Verdict(base, novel)
