from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch

from ipo_dspy import load_encoder
from ipo_dspy.encoders import parallel
from ipo_dspy.errors import UnreadableImage
from ipo_dspy.features import image_batches
from ipo_dspy.features.image_batches import encode_images
from ipo_dspy.testing import ColourEncoder


class CountingEncoder(ColourEncoder):
    """Counts the images it encodes, and in which batches."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def encode_images(self, images: Sequence[PIL.Image.Image]) -> torch.Tensor:
        self.batches.append(len(images))
        return super().encode_images(images)


class PreparingEncoder(CountingEncoder):
    """Has its images prepared apart from encoding them."""

    device = torch.device("cpu")

    def prepare_image(self, image: PIL.Image.Image) -> PIL.Image.Image:
        return image.resize((1, 1))

    def encode_prepared(self, prepared: Sequence[Any]) -> torch.Tensor:
        return self.encode_images(prepared)


class PreparingAsOnGPU(PreparingEncoder):
    """Says that it runs on a GPU, so that only one batch is encoded at a time."""

    device = torch.device("cuda")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Forty pictures of shades between black and white."""
    for shade in range(40):
        PIL.Image.new("RGB", (8, 8), (5 * shade,) * 3).save(tmp_path / f"{shade}.png")
    return [tmp_path / f"{shade}.png" for shade in range(40)]


@pytest.mark.parametrize(
    ("make", "most"),
    [
        (CountingEncoder, image_batches.AT_ONCE_OPENED),
        (PreparingEncoder, 1),
        (PreparingAsOnGPU, image_batches.AT_ONCE_ON_GPU),
    ],
)
def test_batches_are_bounded_and_in_order(
    make: Callable[[], CountingEncoder], most: int, pictures: list[Path]
) -> None:
    encoder = make()
    features = encode_images(encoder, 4 * pictures)
    full, rest = divmod(160, most)
    assert sorted(encoder.batches, reverse=True) == [most] * full + [rest] * (rest > 0)
    alone = torch.cat([encode_images(encoder, [picture]) for picture in pictures])
    assert torch.allclose(features, alone.repeat(4, 1), atol=1e-6)


@pytest.mark.slow
def test_built_in_encoders_get_from_threads_what_they_make_themselves(
    pictures: list[Path],
) -> None:
    encoder = load_encoder("demo")
    threaded = encode_images(encoder, pictures)
    itself = encoder.encode_images([PIL.Image.open(picture) for picture in pictures])
    assert torch.equal(threaded, itself)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_other_images_and_threads_do_not_change_a_bit(threads: int, pictures: list[Path]) -> None:
    encoder = load_encoder("demo")
    alone = torch.cat([encode_images(encoder, [picture]) for picture in pictures])
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for count in (1, 2, 17, 33):
            assert torch.equal(encode_images(encoder, pictures[:count]), alone[:count])
        assert torch.equal(encode_images(encoder, pictures[::-1]), alone.flip(0))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("make", [CountingEncoder, PreparingEncoder, PreparingAsOnGPU])
def test_torch_keeps_its_number_of_threads(
    make: Callable[[], CountingEncoder], pictures: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a process that has run nothing side by side yet.
    monkeypatch.setattr(parallel, "_pools", {})
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            encode_images(make(), pictures)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


def test_an_image_that_cannot_be_read_is_named(pictures: list[Path]) -> None:
    pictures[25].write_bytes(b"no image")
    with pytest.raises(UnreadableImage, match=r"25\.png"):
        encode_images(PreparingEncoder(), pictures)
