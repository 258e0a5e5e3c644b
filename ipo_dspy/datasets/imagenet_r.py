"""ImageNet-R: paintings, toys, tattoos and other renditions of 200 classes; for tests only.

Labels and class names are those of its own 200 folders, told apart among these alone.
"""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Part
from ipo_dspy.datasets.wordnet import WordNetFolders
from ipo_dspy.prompts.template import Template

IMAGENET_R = Benchmark(
    name="ImageNet-R",
    folder="imagenet-rendition",
    images="imagenet-r",
    lists=WordNetFolders("imagenet-r"),
    template=Template("a photo of a {}."),
    counts=Counts(classes=200, train=0, val=0, test=30_000),
    parts=(
        Part(
            "imagenet-r",
            "imagenet-r.tar, by way of https://github.com/hendrycks/imagenet-r",
            by_hand=True,
        ),
    ),
)
