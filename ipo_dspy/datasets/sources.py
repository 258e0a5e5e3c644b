"""Where the parts of benchmarks are to be had."""

from __future__ import annotations

from ipo_dspy.datasets.benchmark import Part

COOP_PAGE = "https://github.com/KaiyangZhou/CoOp/blob/main/DATASETS.md"


def split_part(file: str) -> Part:
    """A split file of CoOp, which only Google Drive has."""
    return Part(file, f"a file on Google Drive, linked in {COOP_PAGE}", by_hand=True)


def linked_part(path: str, what: str) -> Part:
    """Something that CoOp's page links to."""
    return Part(path, f"{what}, linked in {COOP_PAGE}", by_hand=True)


def wordnet_names_part(path: str) -> Part:
    """ImageNet's file of class names, which can be written from open_clip's copy."""
    command = "from ipo_dspy.datasets import write_wordnet_names; write_wordnet_names('{root}')"
    return Part(
        path,
        f'linked in {COOP_PAGE}; or, once the images are there, type: python -c "{command}"',
        by_hand=True,
    )
