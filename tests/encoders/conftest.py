"""Small randomly initialised models of many architectures, saved as a user's files are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import sentencepiece
import torch
import transformers as tf
from PIL import Image
from safetensors.torch import save_file

VIT = {"image_size": 32, "layers": 2, "width": 32, "patch_size": 16, "head_width": 16}
WIDTHS = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 3}


def timm_tower(name: str, image_size: int, pool: str, projection: str | None) -> dict[str, Any]:
    return {
        "timm_model_name": name,
        "timm_model_pretrained": False,
        "image_size": image_size,
        "timm_pool": pool,
        "timm_proj": projection,
    }


ARCHITECTURES: dict[str, dict[str, Any]] = {
    "tiny-vit": {"vision_cfg": VIT, "text_cfg": TEXT},
    "tiny-vit-quickgelu": {"vision_cfg": VIT, "text_cfg": TEXT, "quick_gelu": True},
    "tiny-resnet": {
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
        "text_cfg": TEXT,
    },
    "tiny-convnext": {
        "vision_cfg": timm_tower("convnext_atto", 32, "", "linear"),
        "text_cfg": TEXT,
    },
    "tiny-eva": {
        "vision_cfg": timm_tower("eva02_tiny_patch14_224", 224, "token", None),
        "text_cfg": TEXT,
        "custom_text": True,
    },
    "tiny-mobileclip": {
        "vision_cfg": timm_tower("fastvit_mci0", 64, "avg", None),
        "text_cfg": {**TEXT, "no_causal_mask": True},
        "custom_text": True,
    },
    "tiny-siglip": {
        "embed_dim": 192,
        "vision_cfg": timm_tower("vit_tiny_patch16_224", 224, "map", "none"),
        "text_cfg": {
            **TEXT,
            "context_length": 64,
            "vocab_size": 40,
            "hf_tokenizer_name": "T5_FOLDER",
            "tokenizer_kwargs": {"clean": "canonicalize"},
            "no_causal_mask": True,
            "proj_bias": True,
            "pool_type": "last",
        },
        "custom_text": True,
        "init_logit_bias": -10.0,
    },
    "tiny-roberta": {
        "vision_cfg": VIT,
        "text_cfg": {
            "hf_model_name": "ROBERTA_FOLDER",
            "hf_tokenizer_name": "ROBERTA_FOLDER",
            "hf_pooler_type": "mean_pooler",
        },
    },
    "tiny-custom-text": {
        "vision_cfg": VIT,
        "text_cfg": {
            **TEXT,
            "proj_bias": True,
            "ls_init_value": 0.1,
            "pool_type": "eos",
            "eos_id": 49407,
        },
        "custom_text": True,
    },
    "tiny-bidirectional": {
        "vision_cfg": VIT,
        "text_cfg": {**TEXT, "context_length": 64, "no_causal_mask": True, "pool_type": "last"},
        "custom_text": True,
        "init_logit_bias": -10.0,
    },
    "tiny-custom-block": {
        "vision_cfg": VIT,
        "text_cfg": {**TEXT, "qk_norm": True},
        "custom_text": True,
    },
    "tiny-coca": {
        "vision_cfg": {
            **VIT,
            "attentional_pool": True,
            "attn_pooler_heads": 2,
            "output_tokens": True,
        },
        "text_cfg": {**TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {
            "context_length": 76,
            "vocab_size": 49408,
            "width": 32,
            "heads": 2,
            "layers": 1,
            "dim_head": 16,
            "n_queries": 4,
            "attn_pooler_heads": 2,
        },
        "custom_text": True,
    },
}


def enlarge_weights(model: torch.nn.Module) -> None:
    """Initial weights are so small that a wrong tower would hardly differ."""
    for name, parameter in model.named_parameters():
        if not name.startswith("logit_"):
            parameter.data.add_(0.1 * torch.randn_like(parameter))


@pytest.fixture(scope="session", autouse=True)
def tiny_architectures(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("model_configs")
    t5, roberta = tmp_path_factory.mktemp("t5"), tmp_path_factory.mktemp("roberta")
    tf.T5Tokenizer(vocab=unigrams("<unk>", "</s>"), extra_ids=0, pad_token="</s>").save_pretrained(
        t5
    )
    roberta_tokenizer().save_pretrained(roberta)
    tf.XLMRobertaConfig(vocab_size=40, **WIDTHS).save_pretrained(roberta)
    for name, settings in ARCHITECTURES.items():
        text = json.dumps({"embed_dim": 24, **settings})
        text = text.replace("T5_FOLDER", str(t5)).replace("ROBERTA_FOLDER", str(roberta))
        (folder / f"{name}.json").write_text(text)
    open_clip.add_model_config(folder)


def unigrams(*specials: str) -> list[tuple[str, float]]:
    """A vocabulary of single letters, and of one word."""
    letters = [(letter, -2.0) for letter in "▁abcdefghijklmnopqrstuvwxyz."]
    return [*((special, 0.0) for special in specials), *letters, ("▁cat", -1.0)]


def roberta_tokenizer() -> Any:
    vocabulary = [*unigrams("<s>", "<pad>", "</s>", "<unk>"), ("<mask>", 0.0)]
    return tf.XLMRobertaTokenizer(vocab=vocabulary, model_max_length=512)


@pytest.fixture(scope="session")
def checkpoint(
    tiny_architectures: None, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Give the checkpoint file of a tiny architecture, written on first use."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def write(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            torch.manual_seed(len(name))
            model = open_clip.create_model(name, pretrained_text=False)
            enlarge_weights(model)
            save_file({key: value.clone() for key, value in model.state_dict().items()}, path)
        return path

    return write


@pytest.fixture
def images() -> list[Image.Image]:
    generator = torch.Generator().manual_seed(0)
    return [
        Image.fromarray(
            torch.randint(0, 256, (40, 56, 3), generator=generator, dtype=torch.uint8).numpy()
        )
        for _ in range(5)
    ]


VISION_SIZES = {"image_size": 32, "patch_size": 16, **WIDTHS}
CORPUS = ["a photo of a cat", "chalk on a board", "the pug and a number", "this is a dog"]
# So the published ones say it: the model reads the padding too.
WITHOUT_MASK = {"model_input_names": ["input_ids"], "model_max_length": 64}
Parts = tuple[tf.PreTrainedModel, Any, Any]


def clip(folder: Path) -> Parts:
    """CLIP with the whole vocabulary; its config gives no end token, as OpenAI's does not."""
    words = open_clip.SimpleTokenizer()
    ends = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    tokenizer = tf.CLIPTokenizer(
        vocab={ends.get(word, word): number for word, number in words.encoder.items()},
        merges=list(words.bpe_ranks),
        model_max_length=77,
    )
    text = {"hidden_act": "quick_gelu", "eos_token_id": 2, **WIDTHS}
    config = tf.CLIPConfig(text_config=text, vision_config=VISION_SIZES, projection_dim=24)
    return tf.CLIPModel(config), tokenizer, clip_images()


def metaclip_2(folder: Path) -> Parts:
    """MetaCLIP 2, whose tokenizer takes longer texts than its model."""
    tokenizer = roberta_tokenizer()
    text = {"vocab_size": len(tokenizer), "bos_token_id": 0, "eos_token_id": 2, **WIDTHS}
    config = tf.MetaClip2Config(text_config=text, vision_config=VISION_SIZES, projection_dim=24)
    return tf.MetaClip2Model(config), tokenizer, clip_images()


def clip_images() -> Any:
    crop = {"height": 32, "width": 32}
    return tf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop)


def siglip(folder: Path) -> Parts:
    """SigLIP, whose tokenizer pads with the end token."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_prefix=str(folder / "spiece"),
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    tokenizer = tf.SiglipTokenizer(str(folder / "spiece.model"), **WITHOUT_MASK)
    return siglip_model(tokenizer), tokenizer, siglip_images()


def siglip_2_of_one_size(folder: Path) -> Parts:
    """SigLIP 2 for images of one size: the model of SigLIP with the tokenizer of Gemma."""
    tokenizer = gemma_tokenizer(tf.GemmaTokenizer)
    return siglip_model(tokenizer), tokenizer, siglip_images()


def siglip_2(folder: Path) -> Parts:
    """SigLIP 2 for images of any shape."""
    tokenizer = gemma_tokenizer(tf.Siglip2Tokenizer)
    vision = {**WIDTHS, "patch_size": 16, "num_patches": 16}
    config = tf.Siglip2Config(text_config=siglip_text(tokenizer), vision_config=vision)
    return tf.Siglip2Model(config), tokenizer, tf.Siglip2ImageProcessor()


def siglip_model(tokenizer: Any) -> tf.PreTrainedModel:
    config = tf.SiglipConfig(text_config=siglip_text(tokenizer), vision_config=VISION_SIZES)
    return tf.SiglipModel(config)


def siglip_text(tokenizer: Any) -> dict[str, Any]:
    return {"vocab_size": len(tokenizer), "bos_token_id": None, "eos_token_id": 1, **WIDTHS}


def siglip_images() -> Any:
    return tf.SiglipImageProcessor(size={"height": 32, "width": 32})


def gemma_tokenizer(kind: type) -> Any:
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    spelt = [f"<0x{byte:02X}>" for byte in range(256)]
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,"
    merges = [("c", "a"), ("ca", "t"), ("▁", "a")]
    words = [*specials, *spelt, *letters, *(first + second for first, second in merges)]
    return kind(
        vocab={word: number for number, word in enumerate(words)},
        merges=merges,
        padding_side="right",
        add_bos_token=False,
        add_eos_token=True,
        **WITHOUT_MASK,
    )


BUILDERS: dict[str, Callable[[Path], Parts]] = {
    "clip": clip,
    "metaclip_2": metaclip_2,
    "siglip": siglip,
    "siglip_2_of_one_size": siglip_2_of_one_size,
    "siglip_2": siglip_2,
}


@pytest.fixture(scope="session")
def saved_encoder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Save a tiny dual encoder of transformers with its processors as on the hub: the folder."""
    folders: dict[str, Path] = {}

    def save(name: str) -> Path:
        if name not in folders:
            folder = folders[name] = tmp_path_factory.mktemp(name)
            torch.manual_seed(0)
            model, tokenizer, images = BUILDERS[name](folder)
            enlarge_weights(model)
            if hasattr(model, "logit_bias"):
                model.logit_scale.data.fill_(4.0)
                model.logit_bias.data.fill_(-16.0)
            for part in (model, tokenizer, images):
                part.save_pretrained(folder)
        return folders[name]

    return save
