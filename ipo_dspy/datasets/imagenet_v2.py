"""ImageNetV2, matched frequency: ImageNet's classes photographed anew; for tests only."""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Part
from ipo_dspy.datasets.wordnet import NumberedFolders
from ipo_dspy.prompts.template import Template

_IMAGES = "imagenetv2-matched-frequency-format-val"

IMAGENET_V2 = Benchmark(
    name="ImageNetV2",
    folder="imagenetv2",
    images=_IMAGES,
    lists=NumberedFolders(_IMAGES),
    template=Template("a photo of a {}."),
    counts=Counts(classes=1000, train=0, val=0, test=10_000),
    parts=(
        Part(
            _IMAGES,
            "imagenetv2-matched-frequency.tar.gz, by way of "
            "https://github.com/modestyachts/ImageNetV2",
            by_hand=True,
        ),
    ),
)
