"""ImageNet-A: photographs that classifiers get wrong, of 200 classes; for tests only.

Labels and class names are those of its own 200 folders, told apart among these alone.
"""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Part
from ipo_dspy.datasets.wordnet import WordNetFolders
from ipo_dspy.prompts.template import Template

IMAGENET_A = Benchmark(
    name="ImageNet-A",
    folder="imagenet-adversarial",
    images="imagenet-a",
    lists=WordNetFolders("imagenet-a"),
    template=Template("a photo of a {}."),
    counts=Counts(classes=200, train=0, val=0, test=7_500),
    parts=(
        Part(
            "imagenet-a",
            "imagenet-a.tar, by way of https://github.com/hendrycks/natural-adv-examples",
            by_hand=True,
        ),
    ),
)
