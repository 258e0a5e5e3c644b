"""Lists of ImageNet and its variants: folders of images, and a file of class names."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ipo_dspy.datasets.lists import Entry, ImageLists, class_entries, unique_names
from ipo_dspy.errors import DataError
from ipo_dspy.images.names import read_classnames

NAMES_FILE = "classnames.txt"
IMAGENET_FOLDER = "imagenet"


@dataclass(frozen=True)
class WordNetFolders:
    """One folder per class, called by WordNet number (`n01440764`), sorted to give the labels.

    CoOp takes files in the order in which the disk happens to list them; here they are sorted, so
    that a sample can be drawn again elsewhere.

    Attributes:
        images: the folder in the benchmark's folder at which paths start.
        test: the folder below that of class folders to test on; empty where it is the same.
        train: the folder below `images` of class folders to train on; None where there are none.
            Where it is not on disk there is nothing to train on, and tests still run.
    """

    images: str
    test: str = ""
    train: str | None = None

    def read(self, folder: Path) -> ImageLists:
        """List the class folders; no image is opened."""
        image_folder = folder / self.images
        numbers = subfolders(image_folder / self.test)
        names = read_wordnet_names(folder)
        if unnamed := [number for number in numbers if number not in names]:
            raise DataError(
                f"the folder {image_folder / self.test / unnamed[0]} has no line in {NAMES_FILE}; "
                "give the file of all 1,000 classes, and keep class folders only"
            )
        train: tuple[Entry, ...] = ()
        if self.train is not None and (image_folder / self.train).is_dir():
            if subfolders(image_folder / self.train) != numbers:
                raise DataError(
                    f"{image_folder / self.train} and {image_folder / self.test} hold other "
                    "class folders; unpack both again"
                )
            train = class_entries(numbers, image_folder, self.train)
        test = class_entries(numbers, image_folder, self.test)
        return ImageLists(unique_names(names[number] for number in numbers), train, (), test)


@dataclass(frozen=True)
class NumberedFolders:
    """One folder per class, called `0` to `999` by the place of its WordNet number when sorted.

    Attributes:
        images: the folder in the benchmark's folder that holds the class folders.
    """

    images: str

    def read(self, folder: Path) -> ImageLists:
        """List the class folders; no image is opened."""
        names = read_wordnet_names(folder)
        numbers = sorted(names)
        found = subfolders(folder / self.images)
        folders = [str(number) for number in range(len(numbers))]
        if set(found) != set(folders):
            raise DataError(
                f"{folder / self.images} holds {len(found)} folders, but {NAMES_FILE} names "
                f"{len(folders)} classes; expected the folders 0 to {len(folders) - 1}"
            )
        test = class_entries(folders, folder / self.images)
        return ImageLists(unique_names(names[number] for number in numbers), (), (), test)


def read_wordnet_names(folder: Path) -> dict[str, str]:
    """Class names by WordNet number: the benchmark's own `classnames.txt`, or ImageNet's.

    Raises:
        DataError: neither is there, or it has another form.
    """
    candidates = (folder / NAMES_FILE, folder.parent / IMAGENET_FOLDER / NAMES_FILE)
    for file in candidates:
        if file.exists():
            return read_classnames(file)
    raise DataError(
        f"there is no file {' or '.join(map(str, dict.fromkeys(candidates)))}; "
        "it should hold lines of a WordNet number and a class name"
    )


def write_wordnet_names(root: str | os.PathLike[str]) -> Path:
    """Write ImageNet's `classnames.txt`: CLIP's own class names, from the copy in open_clip.

    Args:
        root: the folder of all benchmarks, with the images of ImageNet unpacked.

    Raises:
        DataError: the 1,000 class folders are not there.
    """
    from open_clip import IMAGENET_CLASSNAMES

    folder = Path(root) / IMAGENET_FOLDER
    images = folder / "images" / "val"
    numbers = subfolders(images)
    if len(numbers) != len(IMAGENET_CLASSNAMES):
        raise DataError(
            f"{images} holds {len(numbers)} folders; expected those of the "
            f"{len(IMAGENET_CLASSNAMES)} classes"
        )
    lines = (f"{n} {name}\n" for n, name in zip(numbers, IMAGENET_CLASSNAMES, strict=True))
    file = folder / NAMES_FILE
    file.write_text("".join(lines), encoding="utf-8")
    return file


def subfolders(folder: Path) -> list[str]:
    """The sorted names of the folders in a folder, hidden ones left out.

    Raises:
        DataError: the folder is missing.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    except OSError as error:
        raise DataError(f"there is no folder {folder} of class folders") from error
