"""Oxford-IIIT Pets: 37 breeds of cats and dogs, on the official test set."""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.lists import SplitFile
from ipo_dspy.datasets.sources import split_part
from ipo_dspy.prompts.template import Template

_SPLIT = "split_zhou_OxfordPets.json"

OXFORD_PETS = Benchmark(
    name="OxfordPets",
    folder="oxford_pets",
    images="images",
    lists=SplitFile(_SPLIT),
    template=Template("a photo of a {}, a type of pet."),
    counts=Counts(classes=37, train=2_944, val=736, test=3_669),
    parts=(
        Part("images", "images.tar.gz at https://www.robots.ox.ac.uk/~vgg/data/pets/"),
        split_part(_SPLIT),
    ),
    base=Half(images=1_881, correct=1_715),
    novel=Half(images=1_788, correct=1_739),
    torchvision=Torchvision("OxfordIIITPet", root="oxford_pets", moved="oxford-iiit-pet"),
)
