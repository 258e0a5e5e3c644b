"""ImageNet-Sketch: ImageNet's classes drawn in black and white; for tests only."""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Part
from ipo_dspy.datasets.wordnet import WordNetFolders
from ipo_dspy.prompts.template import Template

IMAGENET_SKETCH = Benchmark(
    name="ImageNet-Sketch",
    folder="imagenet-sketch",
    images="images",
    lists=WordNetFolders("images"),
    template=Template("a photo of a {}."),
    counts=Counts(classes=1000, train=0, val=0, test=50_889),
    parts=(
        Part(
            "images",
            "the class folders of the archive at https://github.com/HaohanWang/ImageNet-Sketch",
            by_hand=True,
        ),
    ),
)
