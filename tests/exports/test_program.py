from pathlib import Path

from ipo_dspy import CLIPClassifier
from ipo_dspy.exports.base import Found
from ipo_dspy.exports.program import ProgramExporter
from ipo_dspy.testing import COLOURS, ColourEncoder, check_exporter, colour_examples

PROGRAM = CLIPClassifier(tuple(COLOURS), ColourEncoder(), "a crisp flat <CLASS>")


def test_it_keeps_the_promises_of_an_exporter(tmp_path: Path) -> None:
    check_exporter(ProgramExporter(), Found(PROGRAM), tmp_path)


def test_what_is_loaded_again_classifies_alike(tmp_path: Path) -> None:
    ProgramExporter().write(tmp_path / "program.json", Found(PROGRAM))
    again = CLIPClassifier.from_file(tmp_path / "program.json", clip=ColourEncoder())
    assert again.template == PROGRAM.template
    for example in colour_examples():
        assert again(image=example.image).label == PROGRAM(image=example.image).label
