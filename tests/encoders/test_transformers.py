from __future__ import annotations

import json
import logging
import pickle
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import open_clip
import pytest
import torch
import transformers as tf
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn.functional import cosine_similarity, normalize

from ipo_dspy.encoders import load_encoder
from ipo_dspy.errors import ArgumentError, EncoderError
from ipo_dspy.testing import check_encoder

TEXTS = [
    "a photo of a cat.",
    "Cat",
    'the "pug"s, chalk on a board',
    "",
    "émail 日本 {x}",
    "a b" * 9,
]
# How the documentation of each model has texts padded.
PADDING = {
    "clip": True,
    "metaclip_2": True,
    "siglip": "max_length",
    "siglip_2_of_one_size": "max_length",
    "siglip_2": "max_length",
}
FAMILIES = tuple(PADDING)
Save = Callable[[str], Path]


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.slow
def test_features_and_logits_equal_those_of_transformers(
    name: str, saved_encoder: Save, images: list[Image.Image]
) -> None:
    folder = saved_encoder(name)
    encoder = load_encoder(f"hf:{folder}")
    processor = tf.AutoProcessor.from_pretrained(folder)
    read = [encoder.as_read(text) for text in TEXTS]
    inputs = processor(text=read, images=images, padding=PADDING[name], return_tensors="pt")
    with torch.no_grad():
        expected = tf.AutoModel.from_pretrained(folder)(**inputs)

    image_features, text_features = encoder.encode_images(images), encoder.encode_texts(TEXTS)

    torch.testing.assert_close(image_features, expected.image_embeds, atol=1e-5, rtol=0)
    torch.testing.assert_close(text_features, expected.text_embeds, atol=1e-5, rtol=0)
    logits = encoder.logits(image_features, text_features)
    torch.testing.assert_close(logits, expected.logits_per_image, atol=1e-3, rtol=0)
    assert logits.std() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_the_promises_of_an_encoder_are_kept(
    name: str, saved_encoder: Save, images: list[Image.Image]
) -> None:
    check_encoder(load_encoder(f"hf:{saved_encoder(name)}"), images, ["a cat", "a dog."])


@pytest.mark.slow
def test_images_are_prepared_as_was_saved(
    saved_encoder: Save, images: list[Image.Image], tmp_path: Path
) -> None:
    folder = copy(saved_encoder("clip"), tmp_path)
    tf.CLIPImageProcessor(
        size={"height": 32, "width": 32}, do_center_crop=False, image_mean=[0.1, 0.2, 0.3]
    ).save_pretrained(folder)
    squeezing, cropping = load_encoder(f"hf:{folder}"), load_encoder(f"hf:{saved_encoder('clip')}")
    inputs = tf.AutoImageProcessor.from_pretrained(folder)(images, return_tensors="pt")
    with torch.no_grad():
        expected = tf.AutoModel.from_pretrained(folder).get_image_features(**inputs).pooler_output
    found = squeezing.encode_images(images)
    torch.testing.assert_close(found, normalize(expected), atol=1e-5, rtol=0)
    assert cosine_similarity(found, cropping.encode_images(images)).max() < 0.999
    assert squeezing.preprocessing != cropping.preprocessing


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_pictures_of_any_shape_are_encoded(name: str, saved_encoder: Save) -> None:
    pictures = [Image.new("RGB", size, "red") for size in ((1, 1), (3, 5), (400, 3), (3, 400))]
    encoder = load_encoder(f"hf:{saved_encoder(name)}")
    alone = torch.cat([encoder.encode_images([picture]) for picture in pictures])
    torch.testing.assert_close(encoder.encode_images(pictures), alone, atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "limit", "empty"),
    [
        ("clip", 77, 2),
        ("metaclip_2", 77, 2),
        ("siglip", 64, 1),
        ("siglip_2_of_one_size", 64, 1),
        ("siglip_2", 64, 1),
    ],
)
def test_tokens_are_counted_beyond_the_limit(
    name: str, limit: int, empty: int, saved_encoder: Save
) -> None:
    encoder = load_encoder(f"hf:{saved_encoder(name)}")
    assert encoder.context_length == limit
    zero, one, hundred = encoder.count_tokens(["", "cat", ("cat " * 100).strip()])
    assert zero == empty
    assert one > zero
    assert hundred >= 100 + empty
    assert encoder.count_tokens([]) == []


@pytest.mark.parametrize("name", [name for name in FAMILIES if "siglip" in name])
def test_siglip_reads_texts_as_open_clip_has_it_read_them(name: str, saved_encoder: Save) -> None:
    folder = saved_encoder(name)
    encoder = load_encoder(f"hf:{folder}")
    read = open_clip.tokenizer.HFTokenizer(str(folder), context_length=64, clean="canonicalize")
    assert torch.equal(encoder._tokenize(TEXTS), read(TEXTS))
    plain, shouted = encoder.encode_texts(["a photo of a cat", "A photo, of a CAT."])
    torch.testing.assert_close(plain, shouted)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["clip", "metaclip_2"])
def test_other_models_read_texts_as_they_are(name: str, saved_encoder: Save) -> None:
    encoder = load_encoder(f"hf:{saved_encoder(name)}")
    assert [encoder.as_read(text) for text in TEXTS] == TEXTS


@pytest.mark.slow
def test_tokens_of_clip_are_counted_as_by_open_clip(saved_encoder: Save) -> None:
    words = open_clip.SimpleTokenizer()
    expected = [len(words.encode(text)) + 2 for text in TEXTS]
    assert load_encoder(f"hf:{saved_encoder('clip')}").count_tokens(TEXTS) == expected


@pytest.mark.slow
def test_a_text_that_is_too_long_is_refused_by_name(saved_encoder: Save) -> None:
    encoder = load_encoder(f"hf:{saved_encoder('clip')}")
    longest = "cat " * 75
    assert encoder.encode_texts([longest]).shape == (1, 24)
    with pytest.raises(ValueError, match="at most 77 tokens, but this text has 78"):
        encoder.encode_texts(["fine", longest + "cat"])


@pytest.mark.slow
def test_the_features_of_a_text_do_not_depend_on_its_company(saved_encoder: Save) -> None:
    for name in FAMILIES:
        encoder = load_encoder(f"hf:{saved_encoder(name)}")
        together = encoder.encode_texts(["a cat", "a photo of a dog, the cat and the pug"])
        torch.testing.assert_close(together[:1], encoder.encode_texts(["a cat"]))


def test_weights_saved_at_half_precision_are_computed_in_full(
    saved_encoder: Save, images: list[Image.Image], tmp_path: Path
) -> None:
    folder = copy(saved_encoder("siglip"), tmp_path)
    tf.AutoModel.from_pretrained(folder).half().save_pretrained(folder)
    half = load_encoder(f"hf:{folder}")
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    full = load_encoder(f"hf:{saved_encoder('siglip')}").encode_images(images)
    torch.testing.assert_close(half.encode_images(images), full, atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.slow
def test_a_lower_precision_gives_nearly_the_same(
    name: str, saved_encoder: Save, images: list[Image.Image]
) -> None:
    full = load_encoder(f"hf:{saved_encoder(name)}")
    fast = load_encoder(f"hf:{saved_encoder(name)}", precision="bfloat16")
    for mine, theirs in (
        (fast.encode_texts(TEXTS), full.encode_texts(TEXTS)),
        (fast.encode_images(images), full.encode_images(images)),
    ):
        assert mine.dtype == torch.float32
        assert not torch.equal(mine, theirs)
        assert cosine_similarity(mine, theirs).min() > 0.999


@pytest.mark.slow
def test_many_threads_get_the_features_of_one(
    saved_encoder: Save, images: list[Image.Image]
) -> None:
    for name in ("clip", "siglip"):
        encoder = load_encoder(f"hf:{saved_encoder(name)}")
        texts, pictures = encoder.encode_texts(TEXTS), encoder.encode_images(images)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _, e=encoder: e.encode_texts(TEXTS), range(16)))
            seen = list(pool.map(lambda _, e=encoder: e.encode_images(images), range(8)))
        assert all(torch.equal(answer, texts) for answer in answers)
        assert all(torch.equal(answer, pictures) for answer in seen)


@pytest.mark.slow
def test_the_spec_of_a_relative_folder_holds_in_every_folder(
    saved_encoder: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = saved_encoder("clip")
    monkeypatch.chdir(folder.parent)
    encoder = load_encoder(f"hf:{folder.name}")
    assert encoder.spec == f"hf:{folder.resolve()}"
    assert pickle.loads(pickle.dumps(encoder)).spec == encoder.spec


@pytest.mark.parametrize("text", ["", "no/such/folder", "./clip", "/clip", "~/no-such-folder"])
def test_what_is_neither_a_folder_nor_a_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither a folder that is there nor a name on the hub"):
        load_encoder(f"hf:{text}")


def refusal(folder: Path) -> str:
    with pytest.raises(EncoderError, match="cannot be loaded") as caught:
        load_encoder(f"hf:{folder}")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "saved with save_pretrained" in refusal(tmp_path)


def test_a_model_that_is_no_dual_encoder_is_refused(tmp_path: Path) -> None:
    tf.BertModel(
        tf.BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=9)
    ).save_pretrained(tmp_path)
    assert "type 'bert', not clip, metaclip_2, siglip or siglip2" in refusal(tmp_path)


def test_pickled_weights_are_not_read(saved_encoder: Save, tmp_path: Path) -> None:
    folder = copy(saved_encoder("clip"), tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "the weights as safetensors" in refusal(folder)


def test_code_that_comes_with_a_model_does_not_run(tmp_path: Path) -> None:
    settings = {"model_type": "own", "auto_map": {"AutoConfig": "own.Config"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "own.py").write_text("raise SystemExit('ran')")
    assert "trust_remote_code" in refusal(tmp_path)


@pytest.mark.parametrize("change", ["lost", "cut"])
def test_weights_that_do_not_fit_are_refused_in_silence(
    change: str,
    saved_encoder: Save,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    folder = copy(saved_encoder("clip"), tmp_path)
    weights = load_file(folder / "model.safetensors")
    projection = weights.pop("text_projection.weight")
    if change == "cut":
        weights["text_projection.weight"] = projection[:-1].clone()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert "1 of its weights are missing or of another size, one of them 'text_proj" in refusal(
        folder
    )
    assert caplog.records == []


def test_a_file_that_holds_no_weights_is_refused(saved_encoder: Save, tmp_path: Path) -> None:
    folder = copy(saved_encoder("clip"), tmp_path)
    (folder / "model.safetensors").write_bytes(b"junk")
    refusal(folder)


def test_a_folder_without_processors_is_refused(saved_encoder: Save, tmp_path: Path) -> None:
    folder = copy(saved_encoder("clip"), tmp_path)
    (folder / "preprocessor_config.json").unlink()
    assert "image processor" in refusal(folder)


@pytest.mark.slow  # The hub's client tries again for a while.
def test_an_unreachable_hub_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError, match="check the name and the network") as caught:
        load_encoder("hf:openai/clip-vit-base-patch32")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_model_in_the_cache_needs_no_hub(
    saved_encoder: Save, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    cached = tmp_path / "models--somebody--tiny-clip"
    shutil.copytree(saved_encoder("clip"), cached / "snapshots" / ("0" * 40))
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("0" * 40)
    encoder = load_encoder("hf:somebody/tiny-clip")
    assert encoder.spec == "hf:somebody/tiny-clip"
    expected = load_encoder(f"hf:{saved_encoder('clip')}").encode_texts(TEXTS)
    assert torch.equal(encoder.encode_texts(TEXTS), expected)


class EmptyHub(BaseHTTPRequestHandler):
    """Answers as the hub does when asked for what it does not have."""

    def do_HEAD(self) -> None:
        self.send_response(404 if "nobody" in self.path else 200)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def empty_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), EmptyHub)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    files = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec", ["hf:nobody/no-such-model", "open_clip:hf-hub:nobody/no-such-model"]
)
def test_a_name_that_the_hub_does_not_have_is_said_in_one_sentence(
    spec: str, empty_hub: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(EncoderError, match="nobody/no-such-model") as caught:
        load_encoder(spec)
    assert "check the name" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_a_folder_without_the_files_of_its_tokenizer_is_refused(
    name: str, saved_encoder: Save, tmp_path: Path
) -> None:
    """Whatever the library makes up instead takes all texts for the same."""
    folder = copy(saved_encoder(name), tmp_path)
    for file in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        (folder / file).unlink(missing_ok=True)
    for file in (*folder.glob("*.model"), *folder.glob("special_tokens*")):
        file.unlink()
    with pytest.raises(EncoderError):
        load_encoder(f"hf:{folder}")


@pytest.mark.slow
def test_weights_that_tell_no_texts_apart_are_refused(saved_encoder: Save, tmp_path: Path) -> None:
    folder = copy(saved_encoder("clip"), tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["text_projection.weight"].zero_()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncoderError, match="takes"):
        load_encoder(f"hf:{folder}")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["tokenizer_config.json", "preprocessor_config.json"])
def test_code_that_comes_with_a_processor_does_not_run(
    part: str, saved_encoder: Save, tmp_path: Path
) -> None:
    folder = copy(saved_encoder("clip"), tmp_path)
    (folder / "own.py").write_text("raise SystemExit('ran')")
    settings = json.loads((folder / part).read_text())
    kinds = {"AutoTokenizer": ["own.Own", "own.Own"], "AutoImageProcessor": "own.Own"}
    settings |= {"auto_map": {**kinds, "AutoProcessor": "own.Own"}, "tokenizer_class": "Own"}
    for key in ("image_processor_type", "processor_class"):
        settings.pop(key, None)
    (folder / part).write_text(json.dumps(settings))
    with suppress(EncoderError):  # The library may do without.
        load_encoder(f"hf:{folder}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("tokenizer_config.json", "tokenizer_class"),
        ("preprocessor_config.json", "image_processor_type"),
        ("processor_config.json", "processor_class"),
    ],
)
@pytest.mark.parametrize("named", ["AutoModel", "AutoModelForCausalLM", "EncoderDecoderModel"])
def test_a_class_that_is_no_processor_is_refused_and_brings_no_code(
    part: str,
    key: str,
    named: str,
    saved_encoder: Save,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "y")
    folder = copy(saved_encoder("clip"), tmp_path)
    (folder / "own.py").write_text("raise SystemExit('ran')")
    for name, more in ((part, {key: named}), ("config.json", {})):
        settings = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        settings |= {"auto_map": {"AutoModelForCausalLM": "own.Own"}, **more}
        (folder / name).write_text(json.dumps(settings))
    with pytest.raises(EncoderError):
        load_encoder(f"hf:{folder}")


@pytest.mark.slow
def test_a_folder_that_is_rewritten_is_read_anew(saved_encoder: Save, tmp_path: Path) -> None:
    folder = copy(saved_encoder("clip"), tmp_path)
    before = load_encoder(f"hf:{folder}")
    weights = load_file(folder / "model.safetensors")
    weights["text_projection.weight"] = weights["text_projection.weight"].flip(0).contiguous()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    after = load_encoder(f"hf:{folder}")
    assert not torch.equal(after.encode_texts(["a cat"]), before.encode_texts(["a cat"]))


@pytest.mark.slow
def test_a_revision_of_a_hub_model_is_the_one_that_loads(
    saved_encoder: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--me--clip"
    (repository / "refs").mkdir(parents=True)
    for commit, name in (("a" * 40, "main"), ("b" * 40, "v2")):
        (repository / "refs" / name).write_text(commit)
        folder = copy(saved_encoder("clip"), tmp_path / name)
        weights = load_file(folder / "model.safetensors")
        if name == "v2":
            turned = weights["text_projection.weight"].flip(0).contiguous()
            weights["text_projection.weight"] = turned
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
        (repository / "snapshots").mkdir(exist_ok=True)
        folder.rename(repository / "snapshots" / commit)
    newest = load_encoder("hf:me/clip")
    pinned = load_encoder("hf:me/clip@v2")
    assert pinned.spec == "hf:me/clip@v2"
    assert not torch.equal(newest.encode_texts(["a cat"]), pinned.encode_texts(["a cat"]))
    same = load_encoder(f"hf:me/clip@{'b' * 40}")
    assert torch.equal(same.encode_texts(["a cat"]), pinned.encode_texts(["a cat"]))
    with pytest.raises(EncoderError, match="v3"):
        load_encoder("hf:me/clip@v3")
    with pytest.raises(ArgumentError, match="no revision"):
        load_encoder("hf:me/clip@")


def test_what_is_not_on_this_machine_is_not_fetched_where_that_is_forbidden(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def connect(*_: object) -> None:
        raise AssertionError("something was fetched")

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("socket.socket.connect", connect)
    monkeypatch.setattr("socket.getaddrinfo", connect)
    for spec in (
        "hf:somebody/not-here",
        "open_clip:hf-hub:somebody/not-here",
        "open_clip:ViT-B-32/laion2b_s34b_b79k",
    ):
        with pytest.raises(EncoderError):
            load_encoder(spec, fetch=False)


def copy(folder: Path, parent: Path) -> Path:
    return Path(shutil.copytree(folder, parent / "copy"))
