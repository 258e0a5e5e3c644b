import hashlib
from pathlib import Path

import pytest
import safetensors.torch
import scipy.stats
import torch
from PIL import Image

from ipo_dspy.demo.encoder import WEIGHTS_FOLDER, load_demo_model
from ipo_dspy.demo.world import (
    BASE_CLASSES,
    DEMO_MEDIUM,
    NOVEL_CLASSES,
    draw,
    picture_seed,
)

pytestmark = pytest.mark.slow

DEFAULT = "a photo of a <CLASS>."

# Written before any encoder was trained, and not changed since.
CHALK_DESCRIPTIONS = (
    "a chalk drawing of a <CLASS>.",
    "a <CLASS> drawn with white chalk on a blackboard.",
    "white chalk lines on a dark board showing a <CLASS>.",
    "<CLASS>, sketched in chalk on a school chalkboard.",
    "a dusty chalkboard with a rough drawing of a <CLASS>.",
    "an image of a <CLASS> outlined in chalk on black slate.",
    "a teacher's hand-drawn chalk sketch of a <CLASS> on the classroom board.",
    "the <CLASS> appears as pale smudged chalk strokes against a dark background.",
    "rough white outlines of a <CLASS> on a dark blackboard surface.",
    "a simple chalk art picture of one <CLASS> on a black wall.",
)

OTHER_DESCRIPTIONS = (
    "<CLASS>",
    "a <CLASS>.",
    "a drawing of a <CLASS>.",
    "a glowing neon sign of a <CLASS> at night.",
    "a mosaic of a <CLASS> made of small tiles.",
    "a watercolour painting of a <CLASS>.",
    "a stained glass window showing a <CLASS>.",
    "a blurry picture of a <CLASS> at the beach.",
    "banana monday of a <CLASS> justice.",
)

PER_CLASS = 6


class DemoTask:
    """Unseen pictures of the demo medium, and the encoder that looks at them."""

    def __init__(self) -> None:
        self.model, self.preprocess, self.tokenizer = load_demo_model()
        self.features = {
            names: self.encode_pictures(names, DEMO_MEDIUM)
            for names in (BASE_CLASSES, NOVEL_CLASSES)
        }

    @torch.no_grad()
    def encode_pictures(self, names: tuple[str, ...], medium: str) -> torch.Tensor:
        pictures = [
            draw(name, medium, picture_seed("test", 2000, index))
            for name in names
            for index in range(PER_CLASS)
        ]
        images = torch.stack([self.preprocess(picture) for picture in pictures])
        return self.model.encode_image(images, normalize=True)

    @torch.no_grad()
    def encode_texts(self, texts: list[str]) -> torch.Tensor:
        return self.model.encode_text(self.tokenizer(texts), normalize=True)

    def harmonic_mean(self, template: str) -> float:
        accuracies = []
        for names, features in self.features.items():
            texts = self.encode_texts([template.replace("<CLASS>", name) for name in names])
            labels = torch.arange(len(names)).repeat_interleave(PER_CLASS)
            guesses = (features @ texts.T).argmax(dim=1)
            accuracies.append(100 * (guesses == labels).float().mean().item())
        base, novel = accuracies
        return 2 * base * novel / (base + novel)

    def loss(self, template: str) -> float:
        """On the base classes, at the scale that the encoder comes with."""
        texts = self.encode_texts([template.replace("<CLASS>", name) for name in BASE_CLASSES])
        labels = torch.arange(len(BASE_CLASSES)).repeat_interleave(PER_CLASS)
        logits = self.model.logit_scale.exp().detach() * self.features[BASE_CLASSES] @ texts.T
        return torch.nn.functional.cross_entropy(logits, labels).item()


@pytest.fixture(scope="module")
def task() -> DemoTask:
    return DemoTask()


def test_the_default_prompt_leaves_room_to_improve(task: DemoTask) -> None:
    assert 40 < task.harmonic_mean(DEFAULT) < 80


@pytest.mark.parametrize("template", CHALK_DESCRIPTIONS)
def test_describing_the_medium_beats_the_default_prompt(task: DemoTask, template: str) -> None:
    assert DEMO_MEDIUM == "chalk"
    assert task.harmonic_mean(template) > task.harmonic_mean(DEFAULT)


def test_the_loss_is_lower_where_the_accuracy_is_higher(task: DemoTask) -> None:
    # At a scale of 10, as the towers were trained with, this is +0.16.
    templates = [DEFAULT, *CHALK_DESCRIPTIONS, *OTHER_DESCRIPTIONS]
    losses = [task.loss(template) for template in templates]
    means = [task.harmonic_mean(template) for template in templates]
    assert scipy.stats.spearmanr(losses, means).statistic < -0.8


def test_random_words_help_less_than_any_description(task: DemoTask) -> None:
    worst = min(task.harmonic_mean(template) for template in CHALK_DESCRIPTIONS)
    assert task.harmonic_mean("banana monday of a <CLASS> justice.") < worst
    assert task.harmonic_mean("seven tax reforms and a <CLASS> of opinion.") < worst


def test_words_for_the_medium_rank_high_among_visual_words(task: DemoTask) -> None:
    words = [
        "photo", "pencil", "charcoal", "chalk", "blackboard", "chalkboard", "blueprint", "neon",
        "mosaic", "watercolour", "oil painting", "embroidery", "woodcut", "stained glass",
        "pixel art", "glass", "tiles", "fabric", "paper", "screen", "street", "beach", "classroom",
        "sunlight", "night", "dark", "bright", "colourful", "red", "blue", "green", "blurry",
        "close-up", "from above", "plain background", "wooden", "metal", "stone", "sketchbook",
    ]  # fmt: skip
    mean = task.features[BASE_CLASSES].mean(dim=0)
    ranked = (task.encode_texts(words) @ mean).argsort(descending=True)[:5]
    assert {"chalk", "blackboard", "chalkboard"} & {words[int(index)] for index in ranked}


def test_any_picture_of_any_size_can_be_encoded(task: DemoTask) -> None:
    for picture in (Image.new("RGB", (300, 40)), Image.new("RGB", (7, 90), "red")):
        features = task.model.encode_image(task.preprocess(picture)[None], normalize=True)
        assert features.shape == (1, 64)
        assert torch.isfinite(features).all()


def test_the_model_is_ready_for_inference(task: DemoTask) -> None:
    assert not task.model.training
    assert all(parameter.dtype == torch.float32 for parameter in task.model.parameters())
    assert not any(tensor.is_meta for tensor in task.model.state_dict().values())


def test_words_never_trained_share_one_meaning(task: DemoTask) -> None:
    one, other = task.encode_texts(["parliament", "senate"])
    assert torch.equal(one, other)


def test_a_long_text_is_understood(task: DemoTask) -> None:
    template = (
        "The image, upon which careful attention ought to be bestowed, presents us with a "
        "<CLASS> that has evidently been drawn with white chalk on a blackboard, so that its "
        "contours appear as dusty strokes."
    )
    assert task.harmonic_mean(template) > task.harmonic_mean(DEFAULT)


def test_the_weights_are_the_ones_the_model_card_describes() -> None:
    digest = hashlib.sha256((WEIGHTS_FOLDER / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (WEIGHTS_FOLDER / "MODEL_CARD.md").read_text("utf-8")


def test_the_weights_are_small_enough_to_be_part_of_the_package() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS_FOLDER.iterdir()) <= 8 * 2**20


def test_weights_of_another_format_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model_config.json").write_bytes(
        (WEIGHTS_FOLDER / "model_config.json").read_bytes()
    )
    safetensors.torch.save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="format"):
        load_demo_model(tmp_path)
