"""A caption ontology for autodistill."""

from __future__ import annotations

from pathlib import Path

from ipo_dspy.exports.base import Found
from ipo_dspy.exports.texts import check_names_differ, quoted, texts_of, write_json


class AutodistillExporter:
    """JSON that is the argument of `autodistill.detection.CaptionOntology`: caption to label.

    autodistill's CLIP is OpenAI's ViT-B/32, whatever the prompt was found with.
    """

    suffix = ".json"

    def write(self, path: Path, found: Found) -> None:
        """Write the captions; see `Exporter.write`.

        Raises:
            ArgumentError: the prompt is an ensemble, of which autodistill would take the largest
                and not the mean, or more than text; or two classes have one name.
        """
        texts = texts_of(found, "autodistill")
        check_names_differ(texts, "autodistill")
        write_json(path, dict(zip(texts.filled(), texts.labels, strict=True)))

    def usage(self, path: Path, found: Found) -> tuple[str, ...]:
        """Lines of Python; see `Explained.usage`."""
        return (
            "# autodistill's CLIP is OpenAI's ViT-B/32; this prompt was found with "
            f"{found.program.embedder.encoder.spec}.",
            "import json",
            "from autodistill.detection import CaptionOntology",
            "from autodistill_clip import CLIP",
            f'captions = json.load(open({quoted(path)}, encoding="utf-8"))',
            "model = CLIP(ontology=CaptionOntology(captions))",
        )
