"""Stanford Cars: 196 models, on the official test set.

The split file moves the year to the front of the name, and its paths start at the benchmark's
folder.
"""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.datasets.sources import split_part
from ipo_dspy.prompts.template import Template

_SPLIT = "split_zhou_StanfordCars.json"
_SOURCE = (
    "a mirror that keeps names such as cars_train/00001.jpg; the original server is gone, "
    "so torchvision cannot fetch them either"
)

STANFORD_CARS = Benchmark(
    name="StanfordCars",
    folder="stanford_cars",
    images="",
    lists=SplitFile(_SPLIT),
    template=Template("a photo of a {}."),
    counts=Counts(classes=196, train=6_509, val=1_635, test=8_041),
    parts=(
        Part("cars_train", _SOURCE, by_hand=True),
        Part("cars_test", _SOURCE, by_hand=True),
        split_part(_SPLIT),
    ),
    base=Half(images=4_002, correct=2_536),
    novel=Half(images=4_039, correct=3_025),
)
