import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy, deepcopy
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ipo_dspy import Template, load_encoder
from ipo_dspy.errors import EncoderError
from ipo_dspy.features import embedder
from ipo_dspy.features.cache import info
from ipo_dspy.features.embedder import Embedder, image_chunks
from ipo_dspy.images.image import ImageFile
from ipo_dspy.testing import COLOURS, ColourEncoder

NAMES = tuple(COLOURS)


class CountingEncoder(ColourEncoder):
    """Counts the images it encodes, and in which batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        self.batches.append(len(images))
        return super().encode_images(images)


class CacheableEncoder(CountingEncoder):
    """Says what its image features depend on."""

    image_fingerprint = "colours, as they always were"


@pytest.fixture
def pictures(tmp_path: Path) -> list[ImageFile]:
    """Forty pictures of shades between black and white."""
    for shade in range(40):
        gray = (5 * shade,) * 3
        PIL.Image.new("RGB", (8, 8), gray).save(tmp_path / f"{shade}.png")
    return [ImageFile(tmp_path / f"{shade}.png") for shade in range(40)]


def test_images_are_encoded_once_and_come_in_order(pictures: list[ImageFile]) -> None:
    encoder = CountingEncoder()
    classifier = Embedder(encoder)
    first = classifier.image_features(pictures[:10])
    mixed = classifier.image_features([pictures[12], pictures[3], pictures[12]])

    assert sum(encoder.batches) == 11
    assert torch.equal(mixed[1], first[3])
    assert torch.equal(mixed[0], mixed[2])


def test_what_is_kept_of_a_batch_does_not_keep_the_batch(pictures: list[ImageFile]) -> None:
    class Together(ColourEncoder):
        def encode_templates(self, groups: Sequence[Sequence[str]]) -> torch.Tensor:
            return torch.stack([self.encode_texts(group) for group in groups])

    classifier = Embedder(Together())
    classifier.image_features(pictures)
    templates = [Template("a <CLASS>"), Template("one <CLASS>")]
    classifier.text_features_of(templates, NAMES)
    kept = [*classifier._images.values(), *classifier._texts.values()]
    assert len(kept) == 42
    assert all(row.untyped_storage().nbytes() == row.nbytes for row in kept)


def test_every_kind_of_source_gives_the_same_features(pictures: list[ImageFile]) -> None:
    path = pictures[7].path
    sources = [path, str(path), pictures[7], PIL.Image.open(path), dspy.Image(PIL.Image.open(path))]
    features = Embedder(ColourEncoder()).image_features(sources)
    assert torch.equal(features, features[:1].expand(5, -1))


def test_features_are_on_disk_for_the_next_run(pictures: list[ImageFile], tmp_path: Path) -> None:
    first, second = CacheableEncoder(), CacheableEncoder()
    cache = tmp_path / "cache"
    features = Embedder(first, cache).image_features(pictures)
    assert torch.equal(Embedder(second, cache).image_features(pictures[5:30]), features[5:30])
    assert second.batches == []
    assert [(kept.spec, kept.images) for kept in info(cache).encoders] == [(first.spec, 40)]


def test_a_few_images_are_not_worth_a_file(pictures: list[ImageFile], tmp_path: Path) -> None:
    Embedder(CacheableEncoder(), tmp_path / "cache").image_features(pictures[:15])
    assert info(tmp_path / "cache").images == 0


def test_an_encoder_that_does_not_say_what_it_depends_on_is_not_kept(
    pictures: list[ImageFile], tmp_path: Path
) -> None:
    Embedder(CountingEncoder(), tmp_path / "cache").image_features(pictures)
    assert info(tmp_path / "cache").images == 0


def test_the_cache_can_be_off_or_elsewhere(
    pictures: list[ImageFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPO_DSPY_CACHE", str(tmp_path / "here"))
    Embedder(CacheableEncoder(), "off").image_features(pictures)
    assert info().images == 0
    Embedder(CacheableEncoder()).image_features(pictures)
    assert info().images == 40
    monkeypatch.setenv("IPO_DSPY_CACHE", "off")
    assert info().folder is None
    Embedder(CacheableEncoder()).image_features(pictures)
    assert info(tmp_path / "here").images == 40


def test_more_images_than_memory_holds_are_read_in_ranges(
    pictures: list[ImageFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Embedder(CacheableEncoder(), "off").image_features(pictures)
    monkeypatch.setattr(embedder, "IMAGE_MEMORY", 20)
    features = Embedder(CacheableEncoder(), tmp_path / "cache").many_image_features(pictures)
    assert not isinstance(features, torch.Tensor)
    assert len(features) == 40
    assert torch.allclose(features[13:29], expected[13:29], atol=1e-6)


def test_memory_forgets_what_was_used_longest_ago(
    pictures: list[ImageFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedder, "IMAGE_MEMORY", 4)
    encoder = CountingEncoder()
    classifier = Embedder(encoder)
    for index in (0, 1, 2, 3, 0, 4, 0, 1):
        classifier.image_features([pictures[index]])
    assert len(encoder.batches) == 6


def test_a_template_is_encoded_once_whoever_asks() -> None:
    encoder = ColourEncoder()
    classifier = Embedder(encoder)
    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(classifier.text_features, Template("<CLASS>"), NAMES) for _ in range(8)]
    assert all(torch.equal(job.result(), jobs[0].result()) for job in jobs)
    assert encoder.texts_encoded == len(NAMES)


def test_text_memory_counts_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder, "TEXT_MEMORY", 2 * len(NAMES))
    encoder = ColourEncoder()
    classifier = Embedder(encoder)
    for words in ("a", "b", "a", "c", "a", "b"):
        classifier.text_features(Template(f"{words} <CLASS>"), NAMES)
    assert encoder.texts_encoded == 4 * len(NAMES)


def test_lines_of_a_template_are_an_ensemble() -> None:
    classifier = Embedder(ColourEncoder())
    lines = classifier.text_features_of([Template("crisp <CLASS>"), Template("<CLASS>")], NAMES)
    both = classifier.text_features(Template("crisp <CLASS>\n<CLASS>"), NAMES)
    expected = torch.nn.functional.normalize(torch.stack(lines).mean(dim=0), dim=-1)
    assert torch.equal(both, expected)


class NotANumber(ColourEncoder):
    """Gives no features for dark pictures and for some words."""

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        features = super().encode_images(images)
        for row, image in enumerate(images):
            if image.getpixel((0, 0)) == (35, 35, 35):
                features[row, 1] = torch.nan
        return features

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        features = super().encode_texts(texts)
        for row, text in enumerate(texts):
            if "green" in text:
                features[row] = torch.inf
        return features


def test_features_that_are_no_numbers_are_an_error_with_a_name(pictures: list[ImageFile]) -> None:
    classifier = Embedder(NotANumber())
    with pytest.raises(EncoderError, match=r"no finite features for the image .*7\.png"):
        classifier.image_features(pictures)
    with pytest.raises(EncoderError, match="no finite features for the text 'a green thing'"):
        classifier.text_features(Template("a <CLASS> thing"), NAMES)


def test_nothing_to_encode_is_an_error() -> None:
    classifier = Embedder(ColourEncoder())
    with pytest.raises(ValueError, match="at least one image"):
        classifier.image_features([])
    with pytest.raises(ValueError, match="at least one class name"):
        classifier.text_features(Template("<CLASS>"), [])


def test_copies_are_the_same_object() -> None:
    classifier = Embedder(ColourEncoder())
    assert copy(classifier) is classifier
    assert deepcopy(classifier) is classifier


@given(images=st.integers(1, 50_000), classes=st.integers(1, 200_000))
def test_chunks_cover_all_images_and_bound_the_logits(images: int, classes: int) -> None:
    chunks = list(image_chunks(images, classes))
    assert [index for chunk in chunks for index in (chunk.start, chunk.stop)] == sorted(
        [0, images, *(2 * [chunk.start for chunk in chunks[1:]])]
    )
    largest = max(chunk.stop - chunk.start for chunk in chunks)
    assert largest * classes <= 2**22 or largest <= 16


@pytest.mark.slow
@given(st.integers(1, 80), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_an_image_gets_beside_others_what_it_gets_alone(
    count: int, classes: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    images, texts = (
        torch.tensor(random.standard_normal((n, 6)), dtype=torch.float32) for n in (count, classes)
    )
    classifier = Embedder(ColourEncoder())
    together = classifier.logits(images, texts)
    alone = torch.cat([classifier.logits(image[None], texts) for image in images])
    assert together.shape == (count, classes)
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad])
def test_features_may_be_constants_of_a_graph(mode: Any) -> None:
    """Also those that a scoring call computed."""
    found = Embedder(load_encoder("demo"))
    picture = PIL.Image.new("RGB", (8, 8), "red")
    template, names = Template("a photo of a <CLASS>"), ["cat", "dog"]
    with mode():
        images = found.image_features([picture])
        texts = found.text_features(template, names)
    assert not images.requires_grad
    context = torch.zeros_like(texts, requires_grad=True)
    found.logits(found.image_features([picture]), texts + context).sum().backward()
    assert context.grad is not None
    assert bool(context.grad.abs().sum() > 0)


@pytest.mark.parametrize("exact", [False, True])
def test_exact_features_are_asked_for_where_they_are_wanted(exact: bool) -> None:
    asked: list[dict[str, bool]] = []

    class Together(ColourEncoder):
        def encode_templates(self, groups: list[list[str]], **options: bool) -> torch.Tensor:
            asked.append(options)
            return torch.stack([self.encode_texts(group) for group in groups])

    embedder = Embedder(Together(), exact=exact)
    templates = [Template("a <CLASS>"), Template("the <CLASS>")]
    embedder.text_features_of(templates, ["red", "blue"])
    again = pickle.loads(pickle.dumps(Embedder(ColourEncoder(), exact=exact)))
    assert asked == [{"exact": True}] if exact else asked == [{}]
    assert again._exact is exact
