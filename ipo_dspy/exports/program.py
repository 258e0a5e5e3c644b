"""program.json: the program itself, for `CLIPClassifier.from_file`."""

from __future__ import annotations

from pathlib import Path

from ipo_dspy.exports.base import Found


class ProgramExporter:
    """Saves the program as `CLIPClassifier.save` does; learned tensors go to a file beside it."""

    suffix = ".json"

    def write(self, path: Path, found: Found) -> None:
        """Save the program; see `Exporter.write`."""
        found.program.save(path)
