"""SUN397: 397 scenes; Training_01 and Testing_01 of the official partitions.

Class names are the folders below the letter, last one first: `a/apse/indoor` is "indoor apse".
"""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.datasets.sources import split_part
from ipo_dspy.prompts.template import Template

_SPLIT = "split_zhou_SUN397.json"

SUN397 = Benchmark(
    name="SUN397",
    folder="sun397",
    images="SUN397",
    lists=SplitFile(_SPLIT),
    template=Template("a photo of a {}."),
    counts=Counts(classes=397, train=15_880, val=3_970, test=19_850),
    parts=(
        Part("SUN397", "SUN397.tar.gz at https://vision.princeton.edu/projects/2010/SUN/"),
        split_part(_SPLIT),
    ),
    base=Half(images=9_950, correct=6_901),
    novel=Half(images=9_900, correct=7_460),
    torchvision=Torchvision("SUN397", root="sun397"),
)
