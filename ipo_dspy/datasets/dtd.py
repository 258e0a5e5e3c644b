"""Describable Textures: 47 textures; the split is CoOp's own and no official partition."""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.datasets.sources import split_part
from ipo_dspy.prompts.template import Template

_SPLIT = "split_zhou_DescribableTextures.json"

DTD = Benchmark(
    name="DTD",
    folder="dtd",
    images="images",
    lists=SplitFile(_SPLIT),
    template=Template("{} texture."),
    counts=Counts(classes=47, train=2_820, val=1_128, test=1_692),
    parts=(
        Part("images", "dtd-r1.0.1.tar.gz at https://www.robots.ox.ac.uk/~vgg/data/dtd/"),
        split_part(_SPLIT),
    ),
    base=Half(images=864, correct=460),
    novel=Half(images=828, correct=496),
    torchvision=Torchvision("DTD", root="dtd", moved="dtd/dtd"),
)
