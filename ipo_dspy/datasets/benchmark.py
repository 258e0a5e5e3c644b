"""What a benchmark dataset is: its place on disk, its lists, its template, its published counts."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ipo_dspy.datasets.lists import Entry, ImageLists, Lists
from ipo_dspy.errors import DataError
from ipo_dspy.images.image import StoredImage
from ipo_dspy.images.labeled import LabeledImages, labeled_image, sample_per_class
from ipo_dspy.prompts.template import Template

MOST_VALIDATION_SHOTS = 4
"""Validation images per class that CoOp's recipe draws at most."""


@dataclass(frozen=True)
class Counts:
    """How many classes and images the published lists have."""

    classes: int
    train: int
    val: int
    test: int


@dataclass(frozen=True)
class Half:
    """The base or the novel half of a test set, and what CLIP does on it without training.

    Attributes:
        images: test images of the half.
        correct: how many of them CLIP ViT-B/16 of OpenAI gets right with the dataset's template,
            among the half's classes. Worked out from the accuracy that CoCoOp and its successors
            print with two decimals.
    """

    images: int
    correct: int

    def agrees(self, correct: int) -> bool:
        """Whether a count prints as the published accuracy does.

        Halves of more than 10,000 images allow several counts.
        """
        return _printed(correct, self.images) == _printed(self.correct, self.images)


@dataclass(frozen=True)
class Part:
    """A file or folder that must lie in a benchmark's folder.

    Attributes:
        path: below the benchmark's folder.
        source: where it is to be had; `{root}` stands for the folder of all benchmarks.
        by_hand: whether torchvision does not bring it.
    """

    path: str
    source: str
    by_hand: bool = False


@dataclass(frozen=True)
class Torchvision:
    """How torchvision fetches a benchmark's images.

    Attributes:
        dataset: the class in `torchvision.datasets`.
        calls: its arguments beside the root, once per call.
        root: the root to give it, below the folder of all benchmarks.
        moved: the folder it leaves below that root whose content belongs in the benchmark's
            folder; empty where everything lies in place already.
    """

    dataset: str
    calls: Sequence[Mapping[str, str | bool]] = ({"download": True},)
    root: str = ""
    moved: str = ""


@dataclass(frozen=True)
class Benchmark:
    """A dataset of the base-to-novel protocol, or one of ImageNet's variants.

    Attributes:
        name: what papers call it.
        folder: its folder below the folder of all benchmarks, as CoOp lays them out.
        images: the folder below that at which the listed paths start; may be empty.
        lists: how its images are divided into train, validation and test.
        template: the template that CLIP's authors wrote for it by hand.
        counts: classes and images of the published lists.
        parts: what must be on disk.
        base: the first half of the classes; None where it is not tested in halves.
        novel: the second half of the classes.
        torchvision: how its images are fetched; None where torchvision cannot.
    """

    name: str
    folder: str
    images: str
    lists: Lists
    template: Template
    counts: Counts
    parts: tuple[Part, ...]
    base: Half | None = None
    novel: Half | None = None
    torchvision: Torchvision | None = field(default=None, repr=False)

    def load(self, root: Path) -> BenchmarkImages:
        """Read the lists; no image is opened.

        Raises:
            DataError: something is missing or damaged.
        """
        folder = root / self.folder
        if not folder.is_dir():
            raise DataError(
                f"{self.name} is not in {root}: there is no folder {folder}; "
                f"ipo-dspy check-data {root} says where it is to be had"
            )
        lists = self.lists.read(folder)
        image_folder = folder / self.images
        if not image_folder.is_dir():
            raise DataError(
                f"the images of {self.name} are missing: there is no folder {image_folder}; "
                f"ipo-dspy check-data {root} says where they are to be had"
            )
        return BenchmarkImages(self, image_folder, lists)


@dataclass(frozen=True)
class BenchmarkImages:
    """A benchmark on disk.

    Attributes:
        benchmark: what it is.
        image_folder: where the listed paths start.
        lists: its lists, over all classes.
    """

    benchmark: Benchmark
    image_folder: Path
    lists: ImageLists

    @property
    def template(self) -> Template:
        """CLIP's hand-written template."""
        return self.benchmark.template

    @cached_property
    def train(self) -> LabeledImages:
        """Every training image; few shots are cheaper by `few_shot`."""
        return self._labeled(self.lists.train)

    @cached_property
    def val(self) -> LabeledImages:
        """Every validation image; none for ImageNet, whose validation images are the test."""
        return self._labeled(self.lists.val)

    @cached_property
    def test(self) -> LabeledImages:
        """Every test image; `test.base_and_novel()` gives the two halves."""
        return self._labeled(self.lists.test)

    def few_shot(self, shots: int, seed: int) -> tuple[LabeledImages, LabeledImages]:
        """Draw training and validation images as CoOp does: (train, validation).

        One stream of random numbers draws `shots` training images of every class, then at most
        four validation images. Halves are taken afterwards, by `base_and_novel`: drawing from the
        base classes alone would give other images.

        Args:
            shots: training images per class, at least 1.
            seed: 1, 2 and 3 in publications.

        Raises:
            DataError: there are no training images.
            ArgumentError: `shots` is below 1.
        """
        if not self.lists.train:
            raise DataError(
                f"{self.benchmark.name} has no training images in {self.image_folder}; "
                "it serves for tests only"
            )
        generator = random.Random(seed)
        train = sample_per_class(self.lists.train, _label, shots, generator)
        few = min(shots, MOST_VALIDATION_SHOTS)
        val = sample_per_class(self.lists.val, _label, few, generator)
        return self._labeled(train), self._labeled(val)

    def _labeled(self, entries: tuple[Entry, ...] | list[Entry]) -> LabeledImages:
        names = self.lists.classnames
        examples = (
            labeled_image(StoredImage(self.image_folder / path), names[label])
            for path, label in entries
        )
        return LabeledImages(tuple(examples), names)


def _label(entry: Entry) -> int:
    return entry[1]


def _printed(correct: int, images: int) -> str:
    return f"{100 * correct / images:.2f}"
