from __future__ import annotations

import copy
import json
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZipFile

import open_clip
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from ipo_dspy.encoders import Encoder, load_encoder
from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.testing import check_encoder

TEXTS = ["a photo of a cat.", "cat", 'the "pug"s, chalk on a board', "", "émail 日本 {x}"]
FAMILIES = (
    "tiny-vit",
    "tiny-vit-quickgelu",
    "tiny-resnet",
    "tiny-convnext",
    "tiny-eva",
    "tiny-mobileclip",
    "tiny-siglip",
    "tiny-roberta",
    "tiny-custom-text",
    "tiny-bidirectional",
    "tiny-custom-block",
    "tiny-coca",
)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.slow
def test_features_and_logits_equal_those_of_open_clip(
    name: str, checkpoint: Callable[[str], Path], images: list[Image.Image]
) -> None:
    encoder = load_encoder(f"open_clip:{name}/{checkpoint(name)}")
    model, _, preprocess = open_clip.create_model_and_transforms(
        name, pretrained=str(checkpoint(name))
    )
    model.eval()
    with torch.no_grad():
        expected_images = normalize(
            model.encode_image(torch.stack([preprocess(i) for i in images]))
        )
        expected_texts = normalize(model.encode_text(open_clip.get_tokenizer(name)(TEXTS)))
        expected_logits = model.logit_scale.exp() * expected_images @ expected_texts.T
        if model.logit_bias is not None:
            expected_logits += model.logit_bias

    image_features, text_features = encoder.encode_images(images), encoder.encode_texts(TEXTS)

    torch.testing.assert_close(image_features, expected_images, atol=1e-5, rtol=0)
    torch.testing.assert_close(text_features, expected_texts, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        encoder.logits(image_features, text_features), expected_logits, atol=1e-3, rtol=0
    )
    assert isinstance(encoder, Encoder)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.slow
def test_the_promises_of_an_encoder_are_kept(
    name: str, checkpoint: Callable[[str], Path], images: list[Image.Image]
) -> None:
    encoder = load_encoder(f"open_clip:{name}/{checkpoint(name)}")
    check_encoder(encoder, images, ["a cat", "a dog."])


def test_the_bias_of_the_logits_is_used(checkpoint: Callable[[str], Path]) -> None:
    encoder = load_encoder(f"open_clip:tiny-bidirectional/{checkpoint('tiny-bidirectional')}")
    orthogonal = torch.eye(2, 24)
    assert encoder.logits(orthogonal[:1], orthogonal[1:]).item() == pytest.approx(-10.0, abs=1.0)


def test_texts_of_one_call_may_be_encoded_in_several_batches(
    checkpoint: Callable[[str], Path],
) -> None:
    encoder = load_encoder(f"open_clip:tiny-vit/{checkpoint('tiny-vit')}")
    texts = [f"a photo of number {n}" for n in range(300)]
    features = encoder.encode_texts(texts)
    assert features.shape == (300, 24)
    torch.testing.assert_close(features[299:], encoder.encode_texts(texts[299:]))


def test_tokens_are_counted_beyond_the_limit(checkpoint: Callable[[str], Path]) -> None:
    encoder = load_encoder(f"open_clip:tiny-vit/{checkpoint('tiny-vit')}")
    assert encoder.context_length == 77
    assert encoder.count_tokens(["", "cat", "cat " * 100]) == [2, 3, 102]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limit", "counts"),
    [("tiny-siglip", 64, [1, 2, 101]), ("tiny-roberta", 77, [2, 3, 102])],
)
def test_tokens_of_other_tokenizers_are_counted_beyond_the_limit(
    name: str, limit: int, counts: list[int], checkpoint: Callable[[str], Path]
) -> None:
    encoder = load_encoder(f"open_clip:{name}/{checkpoint(name)}")
    assert encoder.context_length == limit
    assert encoder.count_tokens(["", "cat", "cat " * 100]) == counts


@pytest.mark.slow
def test_batches_become_smaller_when_memory_runs_out(
    checkpoint: Callable[[str], Path], images: list[Image.Image], tmp_path: Path
) -> None:
    def fill_memory(tower: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        if len(inputs[0]) > 2:
            raise torch.OutOfMemoryError("full")

    copied = shutil.copy(checkpoint("tiny-vit"), tmp_path / "weights.safetensors")
    encoder = load_encoder(f"open_clip:tiny-vit/{copied}")
    expected = encoder.encode_images(images)
    encoder.model.visual.register_forward_pre_hook(fill_memory)
    torch.testing.assert_close(encoder.encode_images(images), expected)


@pytest.mark.slow
def test_a_text_that_is_too_long_is_refused_by_name(checkpoint: Callable[[str], Path]) -> None:
    encoder = load_encoder(f"open_clip:tiny-vit/{checkpoint('tiny-vit')}")
    with pytest.raises(ValueError, match="at most 77 tokens, but this text has 102"):
        encoder.encode_texts(["fine", "cat " * 100])


@pytest.mark.slow
@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy])
def test_a_copy_is_the_same_encoder(
    copying: Callable[[object], object], checkpoint: Callable[[str], Path]
) -> None:
    encoder = load_encoder(f"open_clip:tiny-vit/{checkpoint('tiny-vit')}")
    assert copying(encoder) is encoder


@pytest.mark.slow
def test_pickling_keeps_the_spec_alone(checkpoint: Callable[[str], Path]) -> None:
    encoder = load_encoder(f"open_clip:tiny-vit/{checkpoint('tiny-vit')}")
    content = pickle.dumps(encoder)
    assert len(content) < 1000
    assert pickle.loads(content) is encoder


@pytest.mark.slow
def test_pickling_keeps_device_and_precision() -> None:
    encoder = load_encoder("demo", device="cpu", precision="bfloat16")
    assert pickle.loads(pickle.dumps(encoder)) is encoder


@pytest.mark.slow
def test_the_spec_of_a_relative_file_holds_in_every_folder(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copy(checkpoint("tiny-vit"), tmp_path / "weights.safetensors")
    monkeypatch.chdir(tmp_path)
    encoder = load_encoder("open_clip:tiny-vit/weights.safetensors")
    assert encoder.spec == f"open_clip:tiny-vit/{tmp_path.resolve()}/weights.safetensors"


@pytest.mark.slow
def test_many_threads_get_the_features_of_one(
    checkpoint: Callable[[str], Path], images: list[Image.Image]
) -> None:
    encoder = load_encoder(f"open_clip:tiny-vit/{checkpoint('tiny-vit')}")
    texts, pictures = encoder.encode_texts(TEXTS), encoder.encode_images(images)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: encoder.encode_texts(TEXTS), range(32)))
        seen = list(pool.map(lambda _: encoder.encode_images(images), range(8)))
    assert all(torch.equal(answer, texts) and not answer.requires_grad for answer in answers)
    assert all(torch.equal(answer, pictures) for answer in seen)


@pytest.fixture
def local_folder(checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """A folder as open_clip itself makes it of a model; images are squeezed into a square."""
    settings = {
        "model_cfg": open_clip.get_model_config("tiny-vit"),
        "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "resize_mode": "squash"},
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(settings))
    shutil.copy(checkpoint("tiny-vit"), tmp_path / "open_clip_model.safetensors")
    return tmp_path


@pytest.mark.slow
def test_a_local_folder_brings_its_own_settings(
    local_folder: Path, images: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(local_folder.parent)
    encoder = load_encoder(f"open_clip:local-dir:{local_folder.name}")
    assert encoder.spec == f"open_clip:local-dir:{local_folder.resolve()}"
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{local_folder}")
    with torch.no_grad():
        expected = model.eval().encode_image(torch.stack([preprocess(i) for i in images]))
    torch.testing.assert_close(
        encoder.encode_images(images), normalize(expected), atol=1e-5, rtol=0
    )
    assert "squash" in encoder.preprocessing


@pytest.mark.parametrize("lost", ["open_clip_config.json", "open_clip_model.safetensors"])
def test_a_local_folder_that_lacks_something_is_refused(lost: str, local_folder: Path) -> None:
    (local_folder / lost).unlink()
    with pytest.raises(EncoderError, match="check that the folder holds open_clip_config"):
        load_encoder(f"open_clip:local-dir:{local_folder}")


@pytest.mark.parametrize(
    ("spec", "right"),
    [
        ("open_clip:ViT-B-16/openai", "open_clip:ViT-B-16-quickgelu/openai"),
        ("open_clip:ViT-B/16/openai", "open_clip:ViT-B-16-quickgelu/openai"),
        ("open_clip:RN50/yfcc15m", "open_clip:RN50-quickgelu/yfcc15m"),
        ("open_clip:ViT-B-16-quickgelu/laion2b_s34b_b88k", "open_clip:ViT-B-16/laion2b_s34b_b88k"),
    ],
)
def test_weights_with_the_other_gelu_are_refused_with_the_right_spec(spec: str, right: str) -> None:
    with pytest.raises(ArgumentError, match="GELU") as caught:
        load_encoder(spec)
    assert repr(right) in str(caught.value)


def test_a_published_file_with_the_other_gelu_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "models--timm--vit_base_patch16_clip_224.openai" / "model.safetensors"
    file.parent.mkdir()
    file.touch()
    with pytest.raises(ArgumentError, match="open_clip:ViT-B-16-quickgelu/"):
        load_encoder(f"open_clip:ViT-B-16/{file}")


def test_an_archive_of_openai_needs_quick_gelu(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "mine.pt", "w") as archive:
        archive.writestr("model/code/__torch__.py", "")
    with pytest.raises(ArgumentError, match="open_clip:ViT-B-16-quickgelu/"):
        load_encoder(f"open_clip:ViT-B-16/{tmp_path / 'mine.pt'}")


def test_a_configuration_beside_a_file_tells_its_gelu(
    checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copy(checkpoint("tiny-vit"), tmp_path / "weights.safetensors")
    settings = {"model_cfg": {"quick_gelu": True}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(settings))
    with pytest.raises(ArgumentError, match="open_clip:tiny-vit-quickgelu/"):
        load_encoder(f"open_clip:tiny-vit/{tmp_path / 'weights.safetensors'}")


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("open_clip:ViT-B-17/openai", "ViT-B-16"),
        ("open_clip:ViT-B-16/openia", "openai"),
        ("open_clip:ViT-B-32/laion2b_s34b_b79", "laion2b_s34b_b79k"),
        ("open_clip:ViT-B-32", "laion2b_s34b_b79k"),
        ("open_clip:ViT-B-32/no/such/file.pt", "no checkpoint file 'no/such/file.pt'"),
    ],
)
def test_an_unknown_name_gets_its_near_matches(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        load_encoder(spec)


@pytest.mark.slow
def test_weights_of_another_model_are_refused(checkpoint: Callable[[str], Path]) -> None:
    with pytest.raises(EncoderError, match="check that the file holds weights of tiny-resnet"):
        load_encoder(f"open_clip:tiny-resnet/{checkpoint('tiny-vit')}")


def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "junk.safetensors").write_bytes(b"junk")
    with pytest.raises(EncoderError, match=r"junk\.safetensors cannot be loaded"):
        load_encoder(f"open_clip:tiny-vit/{tmp_path / 'junk.safetensors'}")


@pytest.mark.slow  # The hub's client tries again for a while.
def test_an_unreachable_hub_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError, match="network") as caught:
        load_encoder("open_clip:ViT-B-16-quickgelu/openai")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""
