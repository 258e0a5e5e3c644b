"""Labelled images: a user's own, the benchmark datasets, and the demo world."""

from ipo_dspy.data.classnames import read_classnames
from ipo_dspy.data.datasets import read_dataset
from ipo_dspy.data.errors import DataError, UnreadableImage
from ipo_dspy.data.folder import read_folder
from ipo_dspy.data.images import ImageFile, content_hash, image_key, open_image
from ipo_dspy.data.labeled import LabeledImages, labeled_image
from ipo_dspy.data.tables import read_table

__all__ = [
    "DataError",
    "ImageFile",
    "LabeledImages",
    "UnreadableImage",
    "content_hash",
    "image_key",
    "labeled_image",
    "open_image",
    "read_classnames",
    "read_dataset",
    "read_folder",
    "read_table",
]
