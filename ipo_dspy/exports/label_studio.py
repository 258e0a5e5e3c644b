"""Images with their labels as predictions for Label Studio, to be looked over by a person."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr  # nosec B406 - it writes XML and parses none

from ipo_dspy.errors import ArgumentError
from ipo_dspy.exports.base import Found
from ipo_dspy.exports.texts import write_json
from ipo_dspy.images.image import ImageFile, ImageSource
from ipo_dspy.programs.labelling import LabelledImage, label_images

_LOCAL_FILES = "/data/local-files/?d="
_WEB = ("http://", "https://")


class LabelStudioExporter:
    """JSON of tasks to import: each image of `found.images` with the program's label.

    Files are addressed as Label Studio serves local ones, from the root of the file system. Images
    that cannot be read are tasks without a prediction.
    """

    suffix = ".json"

    def write(self, path: Path, found: Found) -> None:
        """Label the images and write the tasks; see `Exporter.write`.

        Raises:
            ArgumentError: there are no images, or some are not in files.
        """
        if not found.images:
            raise ArgumentError(
                "Label Studio's tasks are images with labels, and no images were given; name "
                "them, on the command line with --images FOLDER."
            )
        labels = label_images(found.program, found.images, top_k=1, progress=False)
        version = "\n".join(found.program.predict.effective_templates)
        write_json(path, [_task(each, version) for each in labels])

    def usage(self, path: Path, found: Found) -> tuple[str, ...]:
        """The labelling set-up and how files are served; see `Explained.usage`."""
        choices = [
            f"    <Choice value={quoteattr(name)}/>" for name in found.program.predict.classnames
        ]
        return (
            "# Start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and",
            "# LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=/, add the images' folder as local storage,",
            f"# give the project this set-up, and import {path}:",
            "<View>",
            '  <Image name="image" value="$image"/>',
            '  <Choices name="choice" toName="image">',
            *choices,
            "  </Choices>",
            "</View>",
        )


def _task(labelled: LabelledImage, version: str) -> dict[str, Any]:
    task: dict[str, Any] = {"data": {"image": _address(labelled.image)}}
    if labelled.label is not None:
        choice = {
            "from_name": "choice",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": [labelled.label]},
        }
        prediction = {
            "model_version": version,
            "score": labelled.probability,
            "result": [choice],
        }
        task["predictions"] = [prediction]
    return task


def _address(image: ImageSource) -> str:
    if isinstance(image, ImageFile):
        image = image.path
    if isinstance(image, str | os.PathLike):
        place = os.fspath(image)
        if place.startswith(_WEB):
            return place
        full = os.path.abspath(place).lstrip(os.sep).replace(os.sep, "/")
        return _LOCAL_FILES + quote(os.fsencode(full))
    address = str(getattr(image, "url", ""))
    if not address.startswith(_WEB):
        raise ArgumentError(
            f"Label Studio shows images by their address, and {image!r:.80} has none; give files."
        )
    return address
