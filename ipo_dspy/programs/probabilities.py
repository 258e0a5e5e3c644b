"""What a classifier believes of an image, and how labels are found among class names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ipo_dspy.errors import LabelError

if TYPE_CHECKING:
    import dspy
    import numpy as np


class Probabilities(NamedTuple):
    """The class probabilities of one image: `values` is [C] float32, one per class name.

    `label_field` names the field of the prediction that has the class name.
    """

    classnames: tuple[str, ...]
    values: np.ndarray[Any, Any]
    label_field: str = "label"

    def of(self, label: str) -> float:
        """Give the probability of a class.

        Raises:
            LabelError: the label is none of the class names.
        """
        return float(self.values[class_index(self.classnames, label)])


def probabilities_of(prediction: dspy.Prediction) -> Probabilities | None:
    """The probabilities behind a prediction of a `CLIPPredict`; None for any other prediction."""
    found: Probabilities | None = getattr(prediction, "_probabilities", None)
    return found


def class_indices(classnames: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Find labels among the class names.

    Raises:
        LabelError: a label is none of them.
    """
    known = {name: index for index, name in enumerate(classnames)}
    return [known[label] if label in known else class_index(classnames, label) for label in labels]


def class_index(classnames: Sequence[str], label: object) -> int:
    """Find a label among the class names.

    Raises:
        LabelError: the label is none of them.
    """
    for index, name in enumerate(classnames):
        if name == label:
            return index
    some = ", ".join(classnames[:5])
    if label is None:
        raise LabelError(
            f"An example has no label; give each one of the {len(classnames)} class names "
            f"({some}, ...), as in dspy.Example(image=..., label={classnames[0]!r})."
        )
    raise LabelError(
        f"The label {label!r} is none of the {len(classnames)} class names ({some}, ...). "
        "Labels must be spelt as in CLIPClassifier(classnames=...)."
    )
