"""Labelled images: a user's own, the benchmark datasets, and the demo world."""

from ipo_dspy.data.errors import DataError, UnreadableImage
from ipo_dspy.data.folder import read_classnames, read_folder
from ipo_dspy.data.images import ImageFile, content_hash, image_key, open_image
from ipo_dspy.data.labeled import LabeledImages, labeled_image

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
    "read_folder",
]
