"""Caltech101: 100 object categories.

The split file leaves out the background and `Faces_easy`, and calls `airplanes`, `Faces`,
`Leopards` and `Motorbikes` in the singular. Labels keep the order of the folders, capitals first,
so face, leopard and motorbike are classes 0 to 2.
"""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.datasets.sources import split_part
from ipo_dspy.prompts.template import Template

_SPLIT = "split_zhou_Caltech101.json"

CALTECH101 = Benchmark(
    name="Caltech101",
    folder="caltech-101",
    images="101_ObjectCategories",
    lists=SplitFile(_SPLIT),
    template=Template("a photo of a {}."),
    counts=Counts(classes=100, train=4_128, val=1_649, test=2_465),
    parts=(
        Part("101_ObjectCategories", "https://data.caltech.edu/records/mzrjq-6wc02"),
        split_part(_SPLIT),
    ),
    base=Half(images=1_549, correct=1_500),
    novel=Half(images=916, correct=861),
    torchvision=Torchvision("Caltech101", root="caltech-101", moved="caltech101"),
)
