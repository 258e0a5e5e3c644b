"""Labelled images: a user's own, the benchmark datasets, and the demo world."""

from ipo_dspy.errors import DataError, UnreadableImage
from ipo_dspy.images.image import ImageFile, StoredImage, content_hash, image_key, open_image
from ipo_dspy.images.labeled import LabeledImages, labeled_image
from ipo_dspy.images.names import read_classnames
from ipo_dspy.images.readers.dataset import read_dataset
from ipo_dspy.images.readers.folder import read_folder
from ipo_dspy.images.readers.table import read_table

__all__ = [
    "DataError",
    "ImageFile",
    "LabeledImages",
    "StoredImage",
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
