"""Checkpoints that do not fit: one sentence that names the fact."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from ipo_dspy.encoders import load_encoder
from ipo_dspy.errors import EncoderError

Checkpoint = Callable[[str], Path]


def refusal(spec: str) -> str:
    with pytest.raises(EncoderError) as caught:
        load_encoder(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def weights(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    return load_file(checkpoint("tiny-vit"))


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".bin"])
def test_an_empty_file_is_called_empty(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    file.touch()
    assert "empty" in refusal(f"open_clip:tiny-vit/{file}")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors", ".npz"])
def test_a_file_of_anything_is_refused(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights{suffix}"
    file.write_bytes(b"\x80\x04junk" * 99)
    refusal(f"open_clip:tiny-vit/{file}")


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["model.", "_orig_mod.", "clip."])
def test_a_prefix_of_a_training_framework_is_named(
    prefix: str, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(
        {"epoch": 3, "state_dict": {prefix + name: value for name, value in weights.items()}},
        tmp_path / "weights.pt",
    )
    assert repr(prefix) in refusal(f"open_clip:tiny-vit/{tmp_path / 'weights.pt'}")


def test_weights_of_another_width_are_named(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    wider = {
        name: value.repeat_interleave(2, dim=-1) if value.ndim else value
        for name, value in weights.items()
    }
    save_file(wider, tmp_path / "weights.safetensors")
    said = refusal(f"open_clip:tiny-vit/{tmp_path / 'weights.safetensors'}")
    assert "expected [" in said
    assert "of another size" in said


def test_missing_weights_are_named(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    del weights["ln_final.weight"]
    save_file(weights, tmp_path / "weights.safetensors")
    assert "'ln_final.weight'" in refusal(f"open_clip:tiny-vit/{tmp_path / 'weights.safetensors'}")


@pytest.mark.parametrize(
    "content", [[], {}, {"state_dict": []}, torch.zeros(3), {"state_dict": {}}]
)
def test_what_holds_no_weights_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "weights.pt")
    refusal(f"open_clip:tiny-vit/{tmp_path / 'weights.pt'}")


class Evil:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('ran')",))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_code_in_a_checkpoint_does_not_run(how: str, tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    if how == "pickle":
        file.write_bytes(pickle.dumps({"state_dict": Evil()}))
    else:
        torch.save({"state_dict": Evil()}, file)
    refusal(f"open_clip:tiny-vit/{file}")


@pytest.mark.slow
def test_a_checkpoint_rewritten_under_its_name_is_read_anew(
    weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(weights, file)
    before = load_encoder(f"open_clip:tiny-vit/{file}")
    assert load_encoder(f"open_clip:tiny-vit/{file}") is before
    changed = {name: value * 1.5 for name, value in weights.items()}
    save_file(changed, file)
    after = load_encoder(f"open_clip:tiny-vit/{file}")
    assert not torch.equal(after.encode_texts(["a cat"]), before.encode_texts(["a cat"]))


@pytest.fixture
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    """A folder as open_clip makes it; its tokenizer is that of a library, with code of its own."""
    (tmp_path / "own.py").write_text("raise SystemExit('ran')")
    settings = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "own", "auto_map": {"AutoConfig": "own.Own"}})
    )
    shutil.copy(checkpoint("tiny-vit"), tmp_path / "open_clip_model.safetensors")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        {"hf_tokenizer_name": "own", "tokenizer_kwargs": {"trust_remote_code": True}},
        {"hf_tokenizer_name": "own"},
        {
            "hf_tokenizer_name": "own",
            "tokenizer_kwargs": {"tokenizer_file": "x", "code_revision": "1"},
        },
        {"hf_tokenizer_name": "own", "tokenizer_kwargs": ["trust_remote_code"]},
        {"tokenizer_kwargs": {"trust_remote_code": True}},
        {"hf_model_name": "FOLDER"},
        {"hf_model_name": "FOLDER", "hf_tokenizer_name": "FOLDER"},
    ],
)
def test_a_folder_cannot_bring_code(text: dict[str, Any], folder: Path) -> None:
    config = open_clip.get_model_config("tiny-vit")
    written = {key: str(folder) if value == "FOLDER" else value for key, value in text.items()}
    config["text_cfg"] |= written
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    refusal(f"open_clip:local-dir:{folder}")


@pytest.mark.slow
@pytest.mark.parametrize("named", ["AutoModel", "AutoConfig", "AutoProcessor"])
def test_code_does_not_run_by_a_class_that_is_no_tokenizer(
    named: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: "y")
    for name in ("tokenizer_config.json", "config.json"):
        settings = json.loads((folder / name).read_text())
        settings["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModel"), "own.Own")
        (folder / name).write_text(json.dumps(settings | {"tokenizer_class": named}))
    config = open_clip.get_model_config("tiny-vit")
    config["text_cfg"]["hf_tokenizer_name"] = "own"
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    refusal(f"open_clip:local-dir:{folder}")


def test_a_model_of_more_layers_than_can_be_is_refused(folder: Path) -> None:
    config = open_clip.get_model_config("tiny-vit")
    config["text_cfg"]["layers"] = 10**7
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    assert "layers" in refusal(f"open_clip:local-dir:{folder}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"model_cfg": 3}',
        '{"model_cfg": {"text_cfg": []}}',
        "\xff",
        "[" * 9999,
    ],
)
def test_a_damaged_config_is_refused(content: str, folder: Path) -> None:
    (folder / "open_clip_config.json").write_bytes(content.encode("latin-1"))
    refusal(f"open_clip:local-dir:{folder}")
