import copy
from typing import Any

import cloudpickle
import dspy
import pytest

from ipo_dspy import CLIPPredict
from ipo_dspy.programs.predict import image_field, label_field
from ipo_dspy.prompts.wording import ClassifyImage
from ipo_dspy.testing import COLOURS, ColourEncoder, colour_examples, scripted_lm

NAMES = list(COLOURS)


@pytest.fixture
def predictor() -> CLIPPredict:
    return CLIPPredict(NAMES, ColourEncoder(), "a flat <CLASS>.")


@pytest.fixture
def image() -> dspy.Image:
    return colour_examples(1)[0].image


@pytest.mark.parametrize(
    ("signature", "image", "label"),
    [
        ("image -> label", "image", "label"),
        ("picture -> colour", "picture", "colour"),
        ("question, image -> why, colour", "image", "colour"),
        ("image: str, photo: dspy.Image -> label", "photo", "label"),
    ],
)
def test_image_and_label_are_found_among_the_fields(signature: str, image: str, label: str) -> None:
    made = dspy.Signature(signature)
    assert image_field(made) == image
    assert label_field(made) == label


@pytest.mark.parametrize("signature", ["a, b -> c", "a: dspy.Image, b: dspy.Image -> c"])
def test_it_must_be_clear_which_input_is_the_image(signature: str) -> None:
    with pytest.raises(ValueError, match="Which of the inputs a, b is the image"):
        image_field(dspy.Signature(signature))


def test_a_signature_must_have_an_output() -> None:
    with pytest.raises(ValueError, match="no output"):
        label_field(dspy.Signature({"image": (str, dspy.InputField())}))


def test_the_label_is_the_last_key_so_that_a_majority_can_be_found(
    predictor: CLIPPredict, image: dspy.Image
) -> None:
    assert list(predictor(image=image).keys()) == ["scores", "label"]


def test_calls_take_what_dspy_gives_any_predictor(
    predictor: CLIPPredict, image: dspy.Image
) -> None:
    better = predictor.signature.with_instructions("a dim photo of a <CLASS>.")
    lm = scripted_lm(["x"])
    given = predictor(image=image, signature=better, demos=[], config={"n": 1}, lm=lm)
    assert given != predictor(image=image)
    assert lm.engine.requests == []


def test_a_signature_may_be_given_as_text(predictor: CLIPPredict, image: dspy.Image) -> None:
    assert "colour" in predictor(image=image, signature="image -> colour")


def test_calls_leave_a_trace_and_batches_none(predictor: CLIPPredict, image: dspy.Image) -> None:
    with dspy.context(trace=[]):
        prediction = predictor(image=image)
        predictor(image=image, _trace=False)
        predictor.predict_batch([image])
        assert dspy.settings.trace == [(predictor, {"image": image}, prediction)]


def test_a_trace_grows_no_longer_than_dspy_allows(
    predictor: CLIPPredict, image: dspy.Image
) -> None:
    for size, kept in ((0, 0), (2, 2)):
        with dspy.context(trace=[], max_trace_size=size):
            for _ in range(3):
                predictor(image=image)
            assert len(dspy.settings.trace) == kept


def test_the_class_of_the_signature_is_its_own() -> None:
    """InferRules writes into the class in place."""
    first = CLIPPredict(NAMES, ColourEncoder())
    second = first.deepcopy()
    second.signature.instructions = "changed <CLASS>"
    assert first.template.text == "a photo of a <CLASS>."
    first.signature.instructions = "changed <CLASS> too"
    assert ClassifyImage.instructions == "a photo of a <CLASS>."


def test_copies_share_encoder_reader_and_language_model(predictor: CLIPPredict) -> None:
    predictor.lm = lm = scripted_lm(["x"])
    predictor.demos = colour_examples(1)
    copied = copy.deepcopy(predictor)
    assert copied.lm is lm
    assert copied.embedder is predictor.embedder
    assert copied.repairs == predictor.repairs
    assert copied.demos == predictor.demos
    assert copied.demos is not predictor.demos


def test_no_language_model_and_so_no_key_is_pickled_or_saved(predictor: CLIPPredict) -> None:
    predictor.lm = dspy.LM("openai/x", api_key="sk-secret")
    assert b"sk-secret" not in cloudpickle.dumps(predictor)
    assert "sk-secret" not in repr(predictor.dump_state())
    assert predictor.lm is not None


def test_a_state_of_another_predictor_is_refused(predictor: CLIPPredict) -> None:
    state: dict[str, Any] = dspy.Predict("image -> label").dump_state()
    with pytest.raises(ValueError, match="not saved by a CLIPPredict"):
        predictor.load_state(state)
    assert predictor.template.text == "a flat <CLASS>."


def test_an_overridden_forward_is_what_acall_awaits(image: dspy.Image) -> None:
    import asyncio

    class Own(CLIPPredict):
        def forward(self, **kwargs: Any) -> dspy.Prediction:
            return dspy.Prediction(label="own")

    assert asyncio.run(Own(NAMES, ColourEncoder()).acall(image=image)).label == "own"


def test_what_is_no_encoder_is_refused_by_name_of_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="clip must be"):
        CLIPPredict(["a", "b"], clip=object())  # type: ignore[arg-type]
