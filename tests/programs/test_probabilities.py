import pytest

from ipo_dspy.programs.probabilities import class_index, class_indices
from ipo_dspy.testing import COLOURS

NAMES = list(COLOURS)


def test_labels_are_found_or_named() -> None:
    assert class_indices(NAMES, ["blue", "red", "blue"]) == [2, 0, 2]
    assert class_index(NAMES, "green") == 1
    with pytest.raises(ValueError, match="'pink' is none of the 6 class names"):
        class_indices(NAMES, ["red", "pink"])
