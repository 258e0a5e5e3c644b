from collections.abc import Callable, Sequence
from typing import Any

import dspy
import PIL.Image
import pytest
import torch

from ipo_dspy import CLIPClassifier, clip_acc
from ipo_dspy.images import open_image
from ipo_dspy.testing import (
    COLOURS,
    ColourEncoder,
    check_encoder,
    colour_examples,
    scripted_lm,
)

IMAGES = [open_image(example.image) for example in colour_examples()]
TEXTS = ["a red thing", "a crisp blue thing"]


def accuracy(template: str) -> float:
    program = CLIPClassifier(list(COLOURS), ColourEncoder(), template)
    evaluate = dspy.Evaluate(devset=colour_examples(2), metric=clip_acc, num_threads=1)
    return float(evaluate(program).score)


def test_only_templates_with_a_good_word_classify_colours_rightly() -> None:
    assert accuracy("a photo of a <CLASS>") == 0.0
    assert accuracy("a crisp <CLASS>") == accuracy("a flat, crisp <CLASS>") == 100.0


def test_the_colour_encoder_keeps_the_promises_of_an_encoder() -> None:
    check_encoder(ColourEncoder(), IMAGES, TEXTS)


class Broken(ColourEncoder):
    """A colour encoder with one method replaced."""

    def __init__(self, **methods: Callable[..., Any]) -> None:
        super().__init__()
        vars(self).update(methods)


right = ColourEncoder()
noise = torch.Generator().manual_seed(0)


def noisy(inputs: Sequence[Any]) -> torch.Tensor:
    random = torch.rand(len(inputs), 6, generator=noise)
    return torch.nn.functional.normalize(random, dim=-1)


def centred(images: Sequence[PIL.Image.Image]) -> torch.Tensor:
    features = right.encode_images(images)
    return torch.nn.functional.normalize(features - 0.5 * features.mean(dim=0), dim=-1)


def flat(images: Sequence[PIL.Image.Image]) -> torch.Tensor:
    return right.encode_images(images).flatten()


class Elsewhere(torch.Tensor):
    """Features that refuse to meet those of another device, as CUDA's do those of the CPU."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.allclose and not all(issubclass(type(a), cls) for a in args[:2]):
            raise RuntimeError("Expected all tensors to be on the same device")
        return super().__torch_function__(func, types, args, kwargs or {})


def test_features_may_be_on_another_device() -> None:
    encoder = Broken(
        encode_images=lambda images: right.encode_images(images).as_subclass(Elsewhere),
        encode_texts=lambda texts: right.encode_texts(texts).as_subclass(Elsewhere),
    )
    check_encoder(encoder, IMAGES, TEXTS)


@pytest.mark.parametrize(
    ("encoder", "promise"),
    [
        (Broken(encode_images=flat), r"encode_images gives \[N, D\]"),
        (Broken(encode_texts=lambda t: right.encode_texts(t[:1])), r"encode_texts gives \[N, D\]"),
        (Broken(encode_texts=lambda t: right.encode_texts(t).double()), "float32"),
        (Broken(encode_images=lambda i: 2 * right.encode_images(i)), "unit length"),
        (Broken(encode_images=lambda i: torch.eye(len(i), 9)), "one space"),
        (Broken(encode_texts=noisy), "encoding texts is deterministic"),
        (Broken(encode_images=noisy), "encoding images is deterministic"),
        (Broken(encode_images=centred), "an image alone"),
        (Broken(logits=lambda i, t: t @ i.T), r"logits gives \[N, C\]"),
        (Broken(count_tokens=lambda t: [16] * len(t)), "never truncates"),
        (Broken(spec=""), "spec is a text"),
        (Broken(spec=7), "spec is a text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_encoder_that_breaks_a_promise_is_told_which_one(
    encoder: ColourEncoder, promise: str
) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_encoder(encoder, IMAGES, TEXTS)


def test_a_scripted_model_gives_its_answers_in_turn_and_keeps_what_it_was_asked() -> None:
    lm = scripted_lm(["one", "two"], field="answer")
    predict = dspy.Predict("question -> answer")
    with dspy.context(lm=lm):
        answers = [predict(question=f"number {n}").answer for n in range(3)]
    assert answers == ["one", "two", "one"]
    assert [f"number {n}" in request for n, request in enumerate(lm.engine.requests)] == [True] * 3


def test_a_scripted_model_can_answer_bare_or_by_what_it_is_asked() -> None:
    lm = scripted_lm(lambda number, request: request.upper(), field=None)
    assert lm("shout") == ["\nSHOUT"]
