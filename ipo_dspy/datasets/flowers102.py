"""Oxford Flowers: 102 kinds; the split is CoOp's own and not the official one."""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.datasets.sources import split_part
from ipo_dspy.prompts.template import Template

_SPLIT = "split_zhou_OxfordFlowers.json"

FLOWERS102 = Benchmark(
    name="Flowers102",
    folder="oxford_flowers",
    images="jpg",
    lists=SplitFile(_SPLIT),
    template=Template("a photo of a {}, a type of flower."),
    counts=Counts(classes=102, train=4_093, val=1_633, test=2_463),
    parts=(
        Part("jpg", "102flowers.tgz at https://www.robots.ox.ac.uk/~vgg/data/flowers/102/"),
        split_part(_SPLIT),
    ),
    base=Half(images=1_053, correct=759),
    novel=Half(images=1_410, correct=1_097),
    torchvision=Torchvision("Flowers102", root="oxford_flowers", moved="flowers-102"),
)
