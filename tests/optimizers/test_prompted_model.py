"""The mathematics of the five learners, on a small encoder where every number can be worked out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ipo_dspy import CLIPClassifier, CoCoOp, CoOp, CoPrompt, MaPLe, PromptSRC
from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.optimizers.prompt_learner import PromptLearner, count_parameters
from ipo_dspy.optimizers.prompted_model import PromptedModel

SENTENCES = {name: [f"something {name}.", f"{name} things"] for name in ("red", "green", "blue")}
LABELS = torch.tensor([0, 1, 2, 0])
W, V, D = 32, 48, 64
"""Widths of texts and images, and of the features."""


def learner(name: str, **arguments: Any) -> PromptLearner:
    kinds: dict[str, Callable[..., PromptLearner]] = {
        "coop": CoOp,
        "cocoop": CoCoOp,
        "maple": MaPLe,
        "promptsrc": lambda **given: PromptSRC(teacher_templates=["a {}.", "{}"], **given),
        "coprompt": lambda **given: CoPrompt(sentences=SENTENCES, **given),
    }
    return kinds[name](**arguments)


ALL = ("coop", "cocoop", "maple", "promptsrc", "coprompt")


@pytest.mark.parametrize(
    ("name", "arguments", "count"),
    [
        ("coop", {}, 4 * W),
        ("coop", {"class_specific": True}, 3 * 4 * W),
        ("cocoop", {}, 4 * W + D * (D // 16) + D // 16 + (D // 16) * W + W),
        ("maple", {"n_ctx": 2, "depth": 3}, 2 * W * 3 + (W * V + V) * 3),
        ("promptsrc", {"n_ctx": 4, "depth": 3}, 4 * W * 3 + 4 * V * 3),
        ("coprompt", {"depth": 2}, 2 * W * 2 + (W * V + V) * 2 + 4 * D * (D // 4)),
    ],
)
def test_only_what_is_learned_has_gradients_and_its_count_is_right(
    program: CLIPClassifier, pixels: Tensor, name: str, arguments: dict[str, Any], count: int
) -> None:
    prompted = learner(name, **arguments).prompted(program)
    assert count_parameters(prompted) == count
    prompted.loss(pixels, LABELS, second_view=pixels.flip(3)).backward()
    assert all(parameter.grad is not None for parameter in prompted.parameters())
    encoder = program.embedder.encoder
    assert all(weight.grad is None for weight in encoder.model.parameters())  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ALL)
def test_an_encoder_that_can_be_trained_is_left_as_it_was(
    program: CLIPClassifier, pixels: Tensor, name: str
) -> None:
    model = program.embedder.encoder.model  # type: ignore[attr-defined]
    model.requires_grad_(True)
    try:
        prompted = learner(name).prompted(program)
        prompted.loss(pixels, LABELS, second_view=pixels).backward()
        assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    finally:
        model.requires_grad_(False)


@pytest.mark.parametrize("words", ["a photo of a", "a sketch of a <CLASS> on paper"])
def test_coop_begins_as_zero_shot_classification(
    program: CLIPClassifier, pixels: Tensor, words: str
) -> None:
    begun = CoOp(init=words).prompted(program).logits(pixels)
    template = words if "<CLASS>" in words else f"{words} <CLASS>."
    model = program.embedder.encoder.model  # type: ignore[attr-defined]
    texts = [template.replace("<CLASS>", name) for name in program.classnames]
    with torch.no_grad():
        images = functional.normalize(model.encode_image(pixels), dim=-1)
        tokens = program.embedder.encoder.tokenizer(texts)  # type: ignore[attr-defined]
        classes = functional.normalize(model.encode_text(tokens), dim=-1)
        expected = model.logit_scale.exp() * images @ classes.T
    assert torch.allclose(begun, expected, atol=1e-5)


def test_the_programs_own_template_can_be_the_beginning(
    program: CLIPClassifier, pixels: Tensor
) -> None:
    own = CLIPClassifier(program.classnames, program.embedder, "a blot of <CLASS> ink")
    begun = CoOp(init="program").prompted(own).logits(pixels)
    assert torch.equal(begun, CoOp(init="a blot of <CLASS> ink").prompted(own).logits(pixels))


@pytest.mark.parametrize("name", ALL)
def test_permuting_the_classes_permutes_the_logits(
    program: CLIPClassifier, pixels: Tensor, name: str
) -> None:
    prompted = learner(name).prompted(program)
    order = [2, 0, 1]
    permuted = prompted.for_classes([program.classnames[index] for index in order])
    assert torch.allclose(permuted.logits(pixels), prompted.logits(pixels)[:, order], atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_other_class_names_of_any_length_and_number_work(
    program: CLIPClassifier, pixels: Tensor, name: str
) -> None:
    prompted = learner(name).prompted(program)
    novel = ["an old and rather dirty shade of orange", "sky"]
    assert prompted.for_classes(novel).logits(pixels).shape == (4, 2)
    assert prompted.logits(pixels).shape == (4, 3)


def test_vectors_of_each_class_take_no_other_class_names(program: CLIPClassifier) -> None:
    prompted = CoOp(class_specific=True).prompted(program)
    with pytest.raises(ArgumentError, match="class_specific"):
        prompted.for_classes(["sky"])


@pytest.mark.parametrize("name", ["maple", "promptsrc", "coprompt"])
def test_deep_prompts_replace_what_stood_there(
    program: CLIPClassifier, pixels: Tensor, name: str
) -> None:
    """What the first layer's vectors become in it is thrown away before the second."""
    prompted = learner(name, depth=2).prompted(program)
    towers = prompted.towers
    before = prompted.class_features(), prompted.image_features(pixels)
    text_block = towers.text._model.transformer.resblocks[0]
    image_block = towers.encoder.model.visual.transformer.resblocks[0]  # type: ignore[union-attr]
    n = prompted.context.n

    def spoil(places: slice) -> Callable[..., Tensor]:
        def hook(module: torch.nn.Module, given: object, output: Tensor) -> Tensor:
            spoilt = output.clone()
            spoilt[:, places] += 7
            return spoilt

        return hook

    hooks = [
        text_block.register_forward_hook(spoil(slice(1, 1 + n))),
        image_block.register_forward_hook(spoil(slice(-n, None))),
    ]
    after = prompted.class_features(), prompted.image_features(pixels)
    for hook in hooks:
        hook.remove()
    assert torch.allclose(before[0], after[0], atol=1e-6)
    assert torch.allclose(before[1], after[1], atol=1e-6)


@pytest.mark.parametrize("name", ["coop", "cocoop", "maple"])
def test_cross_entropy_alone_is_minimised(
    program: CLIPClassifier, pixels: Tensor, name: str
) -> None:
    prompted = learner(name).prompted(program)
    probabilities = prompted.logits(pixels).softmax(dim=1)
    right = probabilities[torch.arange(4), LABELS]
    assert torch.allclose(prompted.loss(pixels, LABELS), -right.log().mean(), atol=1e-5)


def test_promptsrc_adds_distances_to_the_frozen_encoder(
    program: CLIPClassifier, pixels: Tensor
) -> None:
    templates = ["a photo of a <CLASS>.", "<CLASS>", "the <CLASS> one"]
    prompted = PromptSRC(teacher_templates=templates).prompted(program)
    towers = prompted.towers
    z, t, f = prompted.logits(pixels), prompted.class_features(), prompted.image_features(pixels)
    each = [
        torch.stack(
            [towers.plain_text_features([each.replace("<CLASS>", name)])[0] for each in templates]
        ).mean(dim=0)
        for name in program.classnames
    ]
    t0 = functional.normalize(torch.stack(each), dim=1)
    f0 = functional.normalize(towers.image.features(pixels), dim=1)
    p = z.softmax(dim=1)
    p0 = (program.embedder.encoder.model.logit_scale.exp() * f0 @ t0.T).softmax(dim=1)  # type: ignore[attr-defined]
    expected = functional.cross_entropy(z, LABELS)
    expected = expected + 25 * sum((t - t0).abs().flatten()) / (3 * D)
    expected = expected + 10 * sum((f - f0).abs().flatten()) / (4 * D)
    expected = expected + (p0 * (p0.log() - p.log())).sum() / (4 * 3)
    assert torch.allclose(prompted.loss(pixels, LABELS), expected, atol=1e-4)


def test_coprompt_adds_angles_to_the_frozen_encoder(
    program: CLIPClassifier, pixels: Tensor
) -> None:
    prompted = CoPrompt(sentences=SENTENCES, weight=3.0).prompted(program)
    towers, second = prompted.towers, pixels.flip(3)
    t, f = prompted.class_features(), prompted.image_features(pixels)
    g = functional.normalize(towers.image.features(second), dim=1)
    found = set()
    for step in range(6):
        prompted.step = step
        extra = prompted.loss(pixels, LABELS, second_view=second) - functional.cross_entropy(
            prompted.logits(pixels), LABELS
        )
        found.add(round(extra.item(), 3))
    expected = set()
    for number in range(2):
        texts = [SENTENCES[name][number] for name in program.classnames]
        s = functional.normalize(towers.plain_text_features(texts), dim=1)
        angles = (1 - (t * s).sum(dim=1).mean()) + (1 - (f * g).sum(dim=1).mean())
        expected.add(round(3 * angles.item(), 3))
    assert sorted(found) == pytest.approx(sorted(expected), abs=2e-3)


def test_coprompt_needs_two_views_and_sentences(program: CLIPClassifier, pixels: Tensor) -> None:
    prompted = learner("coprompt").prompted(program)
    with pytest.raises(ArgumentError, match="second_view"):
        prompted.loss(pixels, LABELS)
    for sentences in (None, {"red": ["r"]}, {**SENTENCES, "red": ["one"]}):
        lacking = CoPrompt(sentences=sentences).prompted(program)
        with pytest.raises(ArgumentError):
            lacking.loss(pixels, LABELS, second_view=pixels)


def test_meta_network_shifts_the_context_by_image(program: CLIPClassifier, pixels: Tensor) -> None:
    prompted = CoCoOp().prompted(program)
    together = prompted.logits(pixels)
    alone = torch.cat([prompted.logits(each[None]) for each in pixels])
    assert torch.allclose(together, alone, atol=1e-5)
    with torch.no_grad():
        for parameter in prompted.meta_net.parameters():  # type: ignore[union-attr]
            parameter.zero_()
    assert torch.allclose(
        prompted.logits(pixels), CoOp().prompted(program).logits(pixels), atol=1e-5
    )


def official(prompted: PromptedModel) -> dict[str, Tensor]:
    learned = prompted.learned()
    return {theirs: learned[own] + 1 for own, theirs in prompted.official_names().items()}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("prefixed", [True, False])
def test_authors_checkpoints_load_whatever_else_they_hold(
    program: CLIPClassifier, name: str, prefixed: bool
) -> None:
    prompted = learner(name).prompted(program)
    before = prompted.learned()
    state = {
        key if prefixed else key.removeprefix("prompt_learner."): tensor.half()
        for key, tensor in official(prompted).items()
    }
    state |= {"prompt_learner.token_prefix": torch.zeros(3, 1, W), "token_suffix": torch.ones(1)}
    state |= {"image_encoder.conv1.weight": torch.zeros(1), "logit_scale": torch.zeros(())}
    prompted.load_official({"state_dict": state, "epoch": 5})
    for key, tensor in prompted.learned().items():
        assert torch.allclose(tensor, before[key] + 1, atol=2e-3)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda state: state.pop("prompt_learner.ctx"), "ctx is missing"),
        (lambda state: state.update({"prompt_learner.ctx": torch.zeros(3, W)}), r"\[3, 32\]"),
        (
            lambda state: state.update(
                {"prompt_learner.compound_prompts_text.8": torch.zeros(2, W)}
            ),
            "compound_prompts_text.8 is left over",
        ),
    ],
)
def test_checkpoints_of_other_sizes_are_refused(
    program: CLIPClassifier, change: Callable[[dict[str, Tensor]], object], fact: str
) -> None:
    prompted = MaPLe().prompted(program)
    state = official(prompted)
    change(state)
    with pytest.raises(ArgumentError, match=fact):
        prompted.load_official(state)


@pytest.mark.parametrize("name", ["maple", "promptsrc", "coprompt"])
def test_depth_is_bounded_by_the_towers(program: CLIPClassifier, name: str) -> None:
    assert len(learner(name).prompted(program).deep) == (3 if name == "promptsrc" else 2)  # type: ignore[arg-type]
    with pytest.raises(EncoderError, match="depth=3"):
        learner(name, depth=4).prompted(program)
    with pytest.raises(ArgumentError):
        learner(name, depth=0).prompted(program)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maple", "promptsrc", "coprompt"])
def test_a_resnet_of_clip_takes_image_prompts_in_its_attention(name: str) -> None:
    program = CLIPClassifier(["red", "green", "blue"], "demo")
    prompted = learner(name).prompted(program)
    images = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    prompted.loss(images, LABELS, second_view=images).backward()
    assert all(parameter.grad is not None for parameter in prompted.parameters())
    plain = prompted.plain_image_features(images)
    assert not torch.allclose(prompted.image_features(images), plain, atol=1e-3)
    with pytest.raises(EncoderError, match="depth=1"):
        learner(name, depth=2).prompted(program)
