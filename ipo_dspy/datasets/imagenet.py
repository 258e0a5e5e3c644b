"""ImageNet (ILSVRC 2012): 1,000 classes; its validation images are the test."""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Benchmark, Counts, Half, Part, Torchvision
from ipo_dspy.datasets.sources import wordnet_names_part
from ipo_dspy.datasets.wordnet import IMAGENET_FOLDER, NAMES_FILE, WordNetFolders
from ipo_dspy.prompts.template import Template

_SOURCE = (
    "https://image-net.org (after registration); put ILSVRC2012_img_train.tar, "
    "ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz into {root}/imagenet/images"
)

IMAGENET = Benchmark(
    name="ImageNet",
    folder=IMAGENET_FOLDER,
    images="images",
    lists=WordNetFolders(images="images", train="train", test="val"),
    template=Template("a photo of a {}."),
    counts=Counts(classes=1000, train=1_281_167, val=0, test=50_000),
    parts=(
        Part("images/train", _SOURCE),
        Part("images/val", _SOURCE),
        wordnet_names_part(NAMES_FILE),
    ),
    base=Half(images=25_000, correct=18_108),
    novel=Half(images=25_000, correct=17_035),
    torchvision=Torchvision(
        "ImageNet", calls=({"split": "val"}, {"split": "train"}), root="imagenet/images"
    ),
)
