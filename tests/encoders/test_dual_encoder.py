from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import open_clip
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ipo_dspy.encoders.fast import SWITCH
from ipo_dspy.encoders.fast.tower import CausalTextTower
from ipo_dspy.encoders.open_clip import OpenCLIPEncoder
from ipo_dspy.errors import ArgumentError

NAMES = ["cat", "great white shark", "great grey owl", "dog", "car"]
TEMPLATES = ["a photo of a <CLASS>.", "<CLASS>", "a drawing with <CLASS>s in chalk", "one <CLASS>"]
GROUPS = [[template.replace("<CLASS>", name) for name in NAMES] for template in TEMPLATES]
TEXTS = [text for group in GROUPS for text in group]
Make = Callable[..., OpenCLIPEncoder]


class WrongTower(OpenCLIPEncoder):
    """Reads the text tower wrongly, with more heads than it has."""

    def _read_text_tower(self) -> CausalTextTower:
        tower = super()._read_text_tower()
        return replace(tower, heads=2 * tower.heads)


class ChangedLibrary(OpenCLIPEncoder):
    """Finds the library other than it was written for."""

    fault: Exception

    def _read_text_tower(self) -> CausalTextTower:
        raise self.fault


class CountingTower(OpenCLIPEncoder):
    """Counts how often the library's own text tower runs."""

    runs = 0

    def _text_tower(self, tokens: Tensor) -> Tensor:
        self.runs += 1
        return super()._text_tower(tokens)


class SmallMemoryTower(CausalTextTower):
    """Runs out of memory with more than eight tokens at once."""

    def encode(self, tokens: Tensor, tokens_at_once: int) -> Tensor:
        if tokens_at_once > 8:
            raise torch.OutOfMemoryError("full")
        return super().encode(tokens, tokens_at_once)


class SmallMemory(OpenCLIPEncoder):
    def _read_text_tower(self) -> CausalTextTower:
        tower = super()._read_text_tower()
        return SmallMemoryTower(*(getattr(tower, field.name) for field in fields(tower)))


@pytest.fixture
def make(checkpoint: Callable[[str], Path]) -> Make:
    def make(
        name: str = "tiny-vit-quickgelu",
        kind: type[OpenCLIPEncoder] = OpenCLIPEncoder,
        precision: str = "float32",
    ) -> OpenCLIPEncoder:
        model, _, preprocess = open_clip.create_model_and_transforms(
            name, pretrained=str(checkpoint(name))
        )
        tokenizer = open_clip.get_tokenizer(name)
        model.eval()
        return kind(f"test:{name}", model, preprocess, tokenizer, precision=precision)

    return make


def own_features(encoder: OpenCLIPEncoder, texts: list[str]) -> Tensor:
    with torch.no_grad():
        tokens = open_clip.tokenize(texts)
        features: Tensor = encoder.model.encode_text(tokens)  # type: ignore[operator]
    return normalize(features)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny-vit-quickgelu", "tiny-bidirectional"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_other_templates_do_not_change_a_bit_where_it_is_asked_for(
    name: str, precision: str, make: Make
) -> None:
    encoder = make(name, precision=precision)
    together = encoder.encode_templates(GROUPS, exact=True)
    assert together.shape == (len(TEMPLATES), len(NAMES), 24)
    for group, features in zip(GROUPS, together, strict=True):
        assert torch.equal(encoder.encode_texts(group), features)
        assert torch.equal(encoder.encode_templates([group])[0], features)
    assert torch.equal(encoder.encode_templates(GROUPS[::-1], exact=True), together.flip(0))
    tolerance = 1e-6 if precision == "float32" else 1e-2
    shared = encoder.encode_templates(GROUPS)
    torch.testing.assert_close(shared, together, atol=tolerance, rtol=0)


@pytest.mark.slow
def test_many_threads_get_the_same_bits(make: Make) -> None:
    encoder = make()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: encoder.encode_templates(GROUPS), range(16)))
    assert all(torch.equal(answer, answers[0]) for answer in answers)


def test_a_causal_tower_takes_the_fast_path_after_one_check(make: Make) -> None:
    encoder = make(kind=CountingTower)
    for _ in range(3):
        encoder.encode_templates(GROUPS)
    assert encoder.runs == 1
    torch.testing.assert_close(
        encoder.encode_texts(TEXTS), own_features(encoder, TEXTS), atol=1e-5, rtol=0
    )


def test_another_tower_takes_the_plain_path(make: Make) -> None:
    encoder = make("tiny-custom-block", CountingTower)
    encoder.encode_templates(GROUPS)
    assert encoder.runs == len(GROUPS)
    assert encoder.text_path.startswith("off: ")
    assert "Custom" in encoder.text_path


@pytest.mark.slow
@pytest.mark.parametrize("said", ["off", "OFF"])
def test_the_fast_path_can_be_switched_off(
    said: str, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make().text_path == "fast"
    monkeypatch.setenv(SWITCH, said)
    encoder = make(kind=CountingTower)
    torch.testing.assert_close(
        encoder.encode_texts(TEXTS), own_features(encoder, TEXTS), atol=1e-5, rtol=0
    )
    assert encoder.runs > 0
    assert SWITCH in encoder.text_path


def test_a_switch_that_says_something_else_is_refused(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SWITCH, "perhaps")
    with pytest.raises(ArgumentError, match="perhaps"):
        make().encode_texts(TEXTS)


def test_a_model_of_the_caller_is_used_as_it_is(make: Make) -> None:
    made = make()
    assert all(weight.requires_grad for weight in made.model.parameters())
    assert not made.encode_texts(TEXTS).requires_grad
    again = OpenCLIPEncoder("test:again", made.model, made._preprocess, made.tokenizer)
    assert again.model is made.model
    assert all(weight.requires_grad for weight in made.model.parameters())
    made.model.train()
    with pytest.raises(ArgumentError, match="eval"):
        OpenCLIPEncoder("test:training", made.model, made._preprocess, made.tokenizer)
    assert made.model.training


def test_a_model_on_another_device_is_refused_rather_than_moved(make: Make) -> None:
    made = make()
    with pytest.raises(ArgumentError, match="meta"):
        OpenCLIPEncoder("test:meta", made.model, made._preprocess, made.tokenizer, device="meta")
    assert {weight.device.type for weight in made.model.parameters()} == {"cpu"}


def test_logits_carry_the_graph_of_the_features(make: Make) -> None:
    encoder = make()
    texts = encoder.encode_texts(TEXTS)
    context = torch.zeros_like(texts, requires_grad=True)
    encoder.logits(texts[:2], texts + context).sum().backward()
    assert context.grad is not None


def test_a_tower_that_is_off_is_reported_once_and_left(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = make(kind=WrongTower)
    with caplog.at_level(logging.WARNING):
        features = encoder.encode_texts(TEXTS)
        encoder.encode_texts(TEXTS)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "test:tiny-vit-quickgelu" in caplog.text
    assert "differ" in encoder.text_path
    torch.testing.assert_close(features, own_features(encoder, TEXTS), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [AttributeError, TypeError, RuntimeError])
def test_a_tower_that_cannot_be_read_is_reported_once_and_left(
    fault: type[Exception], make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = make(kind=ChangedLibrary)
    assert isinstance(encoder, ChangedLibrary)
    encoder.fault = fault("no 'resblocks'")
    with caplog.at_level(logging.WARNING):
        features = encoder.encode_texts(TEXTS)
        encoder.encode_texts(TEXTS)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "test:tiny-vit-quickgelu" in caplog.text
    assert "no 'resblocks'" in encoder.text_path
    torch.testing.assert_close(features, own_features(encoder, TEXTS), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_renamed_part_of_the_library_is_no_failure(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = make()
    # Assigned a name of another version, the model itself still runs.
    del encoder.model.text_eos_id
    with caplog.at_level(logging.WARNING):
        features = encoder.encode_texts(TEXTS)
    assert "text_eos_id" in caplog.text
    torch.testing.assert_close(features, own_features(encoder, TEXTS), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_on_request_is_near(precision: str, make: Make) -> None:
    encoder = make(precision=precision)
    features = encoder.encode_texts(TEXTS)
    assert features.dtype == torch.float32
    expected = own_features(encoder, TEXTS)
    assert not torch.equal(features, expected)
    assert (features * expected).sum(-1).min() > 0.999


def test_memory_that_runs_out_means_fewer_tokens_at_once(
    make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = make(kind=SmallMemory)
    with caplog.at_level(logging.WARNING):
        features = encoder.encode_templates(GROUPS)
    assert "Out of memory" in caplog.text
    torch.testing.assert_close(
        features.flatten(0, 1), own_features(encoder, TEXTS), atol=1e-5, rtol=0
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([], "at least one group of texts; got none"),
        ([[]], "a text per class name; got a group of none"),
        ([["a cat"], []], "a text per class name; got a group of none"),
        ([["a cat"], ["a cat", "a dog"]], "groups of 1 and of 2 texts"),
        ([["a cat"], ["cat " * 100]], "at most 77 tokens, but this text has 102"),
        ([["cat " * 100, "dog " * 100]], r"at most 77 tokens.*'cat cat"),
    ],
)
@pytest.mark.parametrize("name", ["tiny-vit", "tiny-custom-block"])
def test_unfit_texts_are_refused_by_name(
    groups: list[list[str]], said: str, name: str, make: Make
) -> None:
    with pytest.raises(ValueError, match=said):
        make(name).encode_templates(groups)


@pytest.mark.slow
def test_a_text_that_just_fits_is_encoded(make: Make) -> None:
    encoder = make("tiny-vit")
    just_fits = ["cat " * 75, "cat"]
    assert encoder.count_tokens(just_fits) == [77, 3]
    torch.testing.assert_close(
        encoder.encode_texts(just_fits), own_features(encoder, just_fits), atol=1e-5, rtol=0
    )
