import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from ipo_dspy.features.embedder import Embedder
from ipo_dspy.prompts.template import Template
from ipo_dspy.prompts.template_reader import TemplateReader
from ipo_dspy.testing import ColourEncoder
from ipo_dspy.upstream.dspy_parts import says_nothing

PROSE = "Look closely at the picture."


@pytest.fixture
def reader() -> TemplateReader:
    return TemplateReader(Embedder(ColourEncoder(context_length=12)), ["red", "green"])


@pytest.mark.parametrize(
    "text",
    ["a photo of a <CLASS>.", "a photo of a {}.", "a [CLASS].", "a <CLASS>.\n  a big <CLASS>."],
)
def test_templates_are_taken_as_they_are(text: str, reader: TemplateReader) -> None:
    assert reader.read(text).text.count("<CLASS>") == len(text.splitlines())
    assert reader.repairs == {}


@pytest.mark.parametrize(
    ("text", "used"),
    [
        (PROSE, f"<CLASS>. {PROSE}"),
        ("", "<CLASS>."),
        (f"a photo of a <CLASS>.\n\n{PROSE}", "a photo of a <CLASS>."),
        ("a <CLASS> and a <CLASS>.", "a <CLASS> and a it."),
    ],
)
def test_other_texts_are_repaired_and_counted(text: str, used: str, reader: TemplateReader) -> None:
    assert reader.read(text).text == used
    assert reader.repairs == {text: used}


def test_lines_that_are_too_long_are_left_out(reader: TemplateReader) -> None:
    long = "a photo of a <CLASS> " + "very " * 12
    assert reader.read(f"{long}\na <CLASS>.").text == "a <CLASS>."
    assert len(reader.repairs) == 1


def test_where_every_line_is_too_long_the_class_name_comes_first(reader: TemplateReader) -> None:
    long = "a photo of a " + "very " * 12 + "big <CLASS>"
    assert reader.read(long).text.startswith("<CLASS>. a photo of a very")
    assert reader.read(PROSE * 20).text.startswith("<CLASS>. Look")


def test_what_dspy_writes_into_empty_instructions_is_no_fault(reader: TemplateReader) -> None:
    text = "Given the fields `image`, produce the fields `label`."
    assert says_nothing(text)
    assert reader.read(text).text == "a photo of a <CLASS>."
    assert reader.repairs == {}


def test_repairs_cannot_be_changed_from_outside(reader: TemplateReader) -> None:
    with pytest.raises(TypeError):
        reader.repairs["x"] = "y"  # type: ignore[index]


def test_repairs_once_given_do_not_change_while_other_texts_are_read(
    reader: TemplateReader,
) -> None:
    repairs = reader.repairs
    reader.read(PROSE)
    assert repairs == {}
    assert list(reader.repairs) == [PROSE]


def test_many_threads_read_a_text_once(
    reader: TemplateReader, caplog: pytest.LogCaptureFixture
) -> None:
    barrier = threading.Barrier(8)

    def read(_: int) -> str:
        barrier.wait()
        return reader.read(PROSE).text

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(read, range(8)))) == 1
    assert len(caplog.records) == 1


def test_instructions_of_any_length_are_read_and_shown_shortly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[int] = []

    class Counter:
        context_length = 77

        def count_tokens(self, template: Template, classnames: Sequence[str]) -> int:
            asked.append(len(template.text))
            return 10

    read = TemplateReader(Counter(), ("cat",)).read("x" * 10**6)
    assert len(read.text) < 20_000
    assert max(asked, default=0) < 20_000
    assert len(caplog.text) < 2000
