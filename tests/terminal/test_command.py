import warnings
from pathlib import Path

import pytest
from cyclopts import App
from PIL import Image

from ipo_dspy.images.image import open_image
from ipo_dspy.terminal.command import as_command, run_app


def with_odd_metadata(path: Path) -> Path:
    """A picture that Pillow reads, and warns of."""
    exif = b"Exif\0\0II*\0\x08\0\0\0" + b"\x01\0\x12\x01\x03\0"
    Image.new("RGB", (8, 8), "red").save(path, exif=exif)
    return path


def test_a_command_reads_pictures_with_odd_metadata_without_a_word(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    odd = with_odd_metadata(tmp_path / "odd.jpg")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.warns(UserWarning, match="EXIF"), Image.open(odd) as image:
            image.getexif()
        with warnings.catch_warnings(record=True) as told, as_command("tool"):
            open_image(odd)
    assert told == []
    assert capfd.readouterr().err == ""


def test_what_is_missing_is_told_with_all_that_the_command_takes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = App(name="tool")

    @app.command
    def weigh(fruit: str, scale: str, /, *, unit: str) -> None:
        """Weigh."""

    for given, part in (
        (["weigh", "apple", "--unit", "g"], "weigh takes FRUIT SCALE, and SCALE is missing"),
        (["weigh", "apple", "old", "--unit"], "--unit"),
    ):
        with pytest.raises(SystemExit) as ended:
            run_app(app, "tool", given)
        told = capsys.readouterr().err
        assert ended.value.code == 2
        assert part in told
        assert told.count("\n") == 1
