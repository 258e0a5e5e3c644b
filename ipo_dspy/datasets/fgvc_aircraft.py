"""FGVC-Aircraft: 100 variants by the official lists, labels in the order of `variants.txt`."""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.lists import VariantLists
from ipo_dspy.prompts.template import Template

_SOURCE = (
    "the folder data of fgvc-aircraft-2013b.tar.gz at "
    "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/"
)
_PARTS = ("images", "variants.txt", *(f"images_variant_{s}.txt" for s in ("train", "val", "test")))

FGVC_AIRCRAFT = Benchmark(
    name="FGVCAircraft",
    folder="fgvc_aircraft",
    images="images",
    lists=VariantLists(),
    template=Template("a photo of a {}, a type of aircraft."),
    counts=Counts(classes=100, train=3_334, val=3_333, test=3_333),
    parts=tuple(Part(path, _SOURCE) for path in _PARTS),
    base=Half(images=1_666, correct=453),
    novel=Half(images=1_667, correct=605),
    torchvision=Torchvision("FGVCAircraft", root="fgvc_aircraft", moved="fgvc-aircraft-2013b/data"),
)
