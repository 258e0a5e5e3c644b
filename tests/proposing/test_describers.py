import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import dspy
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy.errors import SearchStoppedError
from ipo_dspy.features.embedder import Embedder
from ipo_dspy.prompts.vocabulary import VOCABULARY
from ipo_dspy.proposing.describers import (
    MASK,
    Describer,
    FileDescriber,
    LMDescriber,
    NoDescriber,
    VocabularyDescriber,
    mask_class_names,
)
from ipo_dspy.records import Description
from ipo_dspy.testing import COLOURS, ColourEncoder, ScriptedEngine, scripted_lm

IMAGES = {n: PIL.Image.new("RGB", (8, 8), colour) for n, colour in enumerate(COLOURS.values())}


def vision_lm(answer: Callable[[int, str], str], **settings: object) -> dspy.LM:
    engine = ScriptedEngine(answer, field="description")
    return dspy.LM("scripted/vision", engine=engine, cache=False, num_retries=0, **settings)


def described(describer: Describer, images: dict[int, object]) -> dict[int, Description]:
    return {description.index: description for description in describer.describe(images)}


class Seeing(ScriptedEngine):
    """A vision engine that keeps the parts of what it was asked."""

    def complete(self, request: dspy.lm15.Request) -> dspy.lm15.Response:
        self.parts = [part for message in request.messages for part in message.parts]
        self.temperature = request.config.temperature
        return super().complete(request)


@pytest.mark.parametrize("kind", ["PIL image", "dspy.Image", "path", "text path"])
def test_a_vision_model_is_shown_the_image_and_asked_not_to_name_the_class(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "dog.png"
    IMAGES[0].save(path)
    image = {
        "PIL image": IMAGES[0],
        "dspy.Image": dspy.Image(IMAGES[0]),
        "path": path,
        "text path": str(path),
    }[kind]
    engine = Seeing(lambda number, request: "grainy", field="description")
    describer = LMDescriber(dspy.LM("scripted/vision", engine=engine, cache=False))
    assert described(describer, {3: image}) == {3: Description(index=3, text="grainy")}
    assert [part.media_type for part in engine.parts if part.type == "image"] == ["image/png"]
    assert not any("dog" in request for request in engine.requests)
    assert engine.temperature == 0.7


def test_images_are_described_at_the_same_time() -> None:
    together = threading.Barrier(6)

    def answer(number: int, request: str) -> str:
        together.wait(timeout=10)
        return "text"

    made = described(LMDescriber(vision_lm(answer), num_threads=6), dict(IMAGES))
    assert {index: d.text for index, d in made.items()} == dict.fromkeys(range(6), "text")


def test_no_more_calls_are_out_than_threads() -> None:
    lock, out, most = threading.Lock(), [0], [0]

    def answer(number: int, request: str) -> str:
        with lock:
            out[0] += 1
            most[0] = max(most[0], out[0])
        try:
            return "text"
        finally:
            with lock:
                out[0] -= 1

    described(LMDescriber(vision_lm(answer), num_threads=2), dict(IMAGES))
    assert most[0] <= 2


def test_a_description_comes_as_soon_as_it_is_made() -> None:
    release = threading.Event()

    def answer(number: int, request: str) -> str:
        if number > 0:
            assert release.wait(timeout=10)
        return "text"

    texts = LMDescriber(vision_lm(answer), num_threads=6).describe(IMAGES)
    assert next(texts).text == "text"
    release.set()
    assert len(list(texts)) == 5


def test_a_failure_is_told_and_the_other_images_are_described() -> None:
    def answer(number: int, request: str) -> str:
        if number == 2:
            raise dspy.lm15.ServerError("broken", provider="p", status=500)
        return "" if number == 3 else "text"

    made = described(LMDescriber(vision_lm(answer)), dict(IMAGES))
    assert sorted(d.text or "" for d in made.values()) == ["", "", *["text"] * 4]
    errors = sorted(d.error for d in made.values() if d.error)
    assert len(errors) == 2
    assert "broken" in errors[0]


def test_an_answer_without_the_format_is_a_description_all_the_same() -> None:
    lm = scripted_lm(["a grainy picture"], field=None)
    assert described(LMDescriber(lm), {0: IMAGES[0]})[0].text == "a grainy picture"


def test_a_wrong_key_ends_the_describing() -> None:
    def refuse(number: int, request: str) -> str:
        raise dspy.lm15.AuthError("wrong key", provider="p", status=401)

    with pytest.raises(SearchStoppedError, match="'scripted/vision' cannot be used"):
        described(LMDescriber(vision_lm(refuse)), dict(IMAGES))


def test_no_thread_is_left_when_the_describing_is_given_up() -> None:
    before = threading.active_count()
    texts = LMDescriber(vision_lm(lambda number, request: "text")).describe(IMAGES)
    next(texts)
    assert isinstance(texts, Iterator)
    del texts
    assert threading.active_count() == before


def test_the_encoder_names_the_words_that_fit_best() -> None:
    encoder = ColourEncoder(good_words=tuple(COLOURS))
    describer = VocabularyDescriber(Embedder(encoder), words=1)
    assert {i: d.text for i, d in described(describer, dict(IMAGES)).items()} == dict(
        enumerate(COLOURS)
    )


def test_as_many_words_are_named_as_asked_for_but_no_more_than_there_are() -> None:
    embedder = Embedder(ColourEncoder())
    [few] = described(VocabularyDescriber(embedder, words=5), {0: IMAGES[0]}).values()
    [all_words] = described(VocabularyDescriber(embedder, words=10**6), {0: IMAGES[0]}).values()
    assert len((few.text or "").split(", ")) == 5
    assert len((all_words.text or "").split(", ")) == sum(map(len, VOCABULARY.values()))


def test_a_file_describes_the_images_by_line(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\ufeffgrün\n\n  second \nthird\n", encoding="utf-8")
    for named in (path, str(path)):
        made = described(FileDescriber(named), {0: "x", 2: "y"})
        assert {i: d.text for i, d in made.items()} == {0: "grün", 2: "third"}


def test_a_file_with_too_few_lines_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("one\n")
    with pytest.raises(ValueError, match="has 1 descriptions, but 3 images are described"):
        described(FileDescriber(path), {0: "x", 2: "y"})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"texts\.txt cannot be read"):
        described(FileDescriber(tmp_path / "texts.txt"), {0: "x"})


def test_none_describes_nothing() -> None:
    assert described(NoDescriber(), dict(IMAGES)) == {}


@pytest.mark.parametrize(
    ("describer", "spec", "calls"),
    [
        (LMDescriber(scripted_lm(["x"])), "lm:scripted/model, temperature 0.7", 1),
        (LMDescriber(scripted_lm(["x"]), temperature=None), "lm:scripted/model", 1),
        (VocabularyDescriber(Embedder(ColourEncoder())), "vocabulary:8", 0),
        (FileDescriber(Path("folder/texts.txt")), "file:texts.txt", 0),
        (FileDescriber("folder/texts.txt"), "file:texts.txt", 0),
        (NoDescriber(), "none", 0),
    ],
    ids=str,
)
def test_a_describer_names_itself_and_its_calls(
    describer: Describer, spec: str, calls: int
) -> None:
    assert (describer.spec, describer.calls_per_image) == (spec, calls)


def test_what_a_description_costs_cannot_be_set() -> None:
    with pytest.raises(TypeError, match="calls_per_image"):
        LMDescriber(scripted_lm(["x"]), calls_per_image=0)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "text", "masked"),
    [
        ("dog", "A Dog and two DOGS.", "A object and two object."),
        ("dog", "dogma, hotdog, dog-like", "dogma, hotdog, object-like"),
        ("fox", "two foxes", "two object"),
        ("butterfly", "butterflies over a butterfly", "object over a object"),
        ("snow_leopard", "a snow leopard, snow-leopards, snow_leopard", "a object, object, object"),
        ("snow leopard", "a snow\nleopard", "a object"),
        ("C++ (code)", "C++ (code) on a wall", "object on a wall"),
        ("ÉTÉ", "un été", "un object"),
        ("日本", "日本 flag", "object flag"),
        ("{}", "a {} here", "a object here"),
        ("<CLASS>", "a <CLASS>", "a object"),
        ("-", "a - b", "a object b"),
    ],
)
def test_a_class_name_in_a_description_is_masked(name: str, text: str, masked: str) -> None:
    assert mask_class_names([text], [name]) == [masked]


def test_the_longest_class_name_is_masked_first() -> None:
    assert mask_class_names(["a sea lion, a lion"], ["lion", "sea lion"]) == ["a object, a object"]


def test_without_class_names_nothing_is_masked() -> None:
    assert mask_class_names(["a dog"], []) == ["a dog"]


def test_masking_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    mask_class_names(["a dog, a dog", "a cat", "a bird"], ["dog", "cat"])
    assert [record.getMessage() for record in caplog.records] == [
        "Masked 3 class names in the image descriptions."
    ]


@pytest.mark.slow
@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4), st.text())
def test_any_class_names_can_be_masked(names: list[str], text: str) -> None:
    [masked] = mask_class_names([f"{text} {names[0]} {text}"], names)
    assert MASK in masked
