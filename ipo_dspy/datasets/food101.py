"""Food-101: 101 dishes; the split is CoOp's own and not the official one."""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.datasets.sources import split_part
from ipo_dspy.prompts.template import Template

_SPLIT = "split_zhou_Food101.json"

FOOD101 = Benchmark(
    name="Food101",
    folder="food-101",
    images="images",
    lists=SplitFile(_SPLIT),
    template=Template("a photo of {}, a type of food."),
    counts=Counts(classes=101, train=50_500, val=20_200, test=30_300),
    parts=(
        Part("images", "https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/"),
        split_part(_SPLIT),
    ),
    base=Half(images=15_300, correct=13_785),
    novel=Half(images=15_000, correct=13_683),
    torchvision=Torchvision("Food101"),
)
