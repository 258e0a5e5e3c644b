"""EuroSAT: 10 kinds of land seen by satellite.

The split file writes the folders' names out: `AnnualCrop` is "Annual Crop Land", `Highway` is
"Highway or Road", `Industrial` is "Industrial Buildings", `SeaLake` is "Sea or Lake".
"""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.datasets.sources import split_part
from ipo_dspy.prompts.template import Template

_SPLIT = "split_zhou_EuroSAT.json"

EUROSAT = Benchmark(
    name="EuroSAT",
    folder="eurosat",
    images="2750",
    lists=SplitFile(_SPLIT),
    template=Template("a centered satellite photo of {}."),
    counts=Counts(classes=10, train=13_500, val=5_400, test=8_100),
    parts=(
        Part("2750", "EuroSAT.zip (RGB), by way of https://github.com/phelber/EuroSAT"),
        split_part(_SPLIT),
    ),
    base=Half(images=4_200, correct=2_372),
    novel=Half(images=3_900, correct=2_498),
    torchvision=Torchvision("EuroSAT"),
)
