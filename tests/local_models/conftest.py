"""Tiny randomly initialised models of real architectures, saved once for the tests."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
QWEN_TOKENS = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
TEXT = [
    "a photo of a <CLASS>. chalk drawing of a <CLASS>. on a blackboard.",
    "[[ ## prompt ## ]] [[ ## completed ## ]] Question: Answer:",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: "
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}IMAGE{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}</s>"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant:{% endif %}"
)
ENDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 3}
WIDTHS = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}
# Wide initial weights make what a model answers depend on what it reads.
TEXT_SIZES = {
    "vocab_size": 320,
    "max_position_embeddings": 4096,
    "initializer_range": 0.5,
    **WIDTHS,
    **ENDS,
}
VISION_SIZES = {"image_size": 16, "patch_size": 8, "initializer_range": 0.5, **WIDTHS}


def byte_tokenizer(
    chat_template: str | None = None, more_tokens: Sequence[str] = ()
) -> tf.PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer like GPT-2's, trained on a few words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320 - len(more_tokens),
        special_tokens=[*SPECIAL_TOKENS, *more_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    return _fast(tokenizer, chat_template)


def fuyu_tokenizer() -> tf.PreTrainedTokenizerFast:
    """One token for each character; like Fuyu's own, it puts a mark before each text."""
    marks = ["|SPEAKER|", "|NEWLINE|", "<0x04>", "|ENDOFTEXT|"]
    words = [*SPECIAL_TOKENS, *marks, "▁", "\n", *map(chr, range(33, 127))]
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    pattern = r"\|SPEAKER\||\|NEWLINE\||\|ENDOFTEXT\||<0x04>|<s>|[\s\S]"
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return _fast(tokenizer, None)


def _fast(tokenizer: Tokenizer, chat_template: str | None) -> tf.PreTrainedTokenizerFast:
    fast = tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
    )
    fast.chat_template = chat_template
    return fast


def language_model(architecture: str) -> tf.PreTrainedModel:
    torch.manual_seed(0)
    config = tf.AutoConfig.for_model(architecture, **TEXT_SIZES)
    return tf.AutoModelForCausalLM.from_config(config)


def blip_2() -> tuple[Any, Any]:
    """BLIP-2 with OPT; it has no chat template."""
    opt = {
        "model_type": "opt",
        "ffn_dim": 48,
        "word_embed_proj_dim": 32,
        **{name: size for name, size in TEXT_SIZES.items() if name != "intermediate_size"},
    }
    config = tf.Blip2Config(
        vision_config=VISION_SIZES,
        qformer_config={"vocab_size": 320, **WIDTHS},
        text_config=opt,
        num_query_tokens=4,
        image_token_index=4,
    )
    images = tf.BlipImageProcessor(size={"height": 16, "width": 16})
    processor = tf.Blip2Processor(images, byte_tokenizer(), num_query_tokens=4)
    return tf.Blip2ForConditionalGeneration(config), processor


def fuyu() -> tuple[Any, Any]:
    """Fuyu; it has no chat template."""
    tokenizer = fuyu_tokenizer()
    config = tf.FuyuConfig(
        image_size=32,
        patch_size=8,
        image_token_id=tokenizer.convert_tokens_to_ids("|SPEAKER|"),
        text_config={"model_type": "persimmon", **TEXT_SIZES},
    )
    patch = {"height": 8, "width": 8}
    images = tf.FuyuImageProcessor(size={"height": 32, "width": 32}, patch_size=patch)
    return tf.FuyuForCausalLM(config), tf.FuyuProcessor(images, tokenizer)


def llava() -> tuple[Any, Any]:
    """LLaVA with Llama."""
    config = tf.LlavaConfig(**_llava_parts())
    processor = tf.LlavaProcessor(tf.CLIPImageProcessor(**_LLAVA_IMAGES), **_llava_processing())
    return tf.LlavaForConditionalGeneration(config), processor


def llava_next() -> tuple[Any, Any]:
    """LLaVA-NeXT with Llama: images in several tiles."""
    tiles = [[16, 32], [32, 16]]
    config = tf.LlavaNextConfig(image_grid_pinpoints=tiles, **_llava_parts())
    images = tf.LlavaNextImageProcessor(image_grid_pinpoints=tiles, **_LLAVA_IMAGES)
    processor = tf.LlavaNextProcessor(images, **_llava_processing())
    return tf.LlavaNextForConditionalGeneration(config), processor


_LLAVA_IMAGES = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}


def _llava_parts() -> dict[str, Any]:
    return {
        "vision_config": {"model_type": "clip_vision_model", "projection_dim": 32, **VISION_SIZES},
        "text_config": {"model_type": "llama", **TEXT_SIZES},
        "image_token_id": 4,
        "image_token_index": 4,
    }


def _llava_processing() -> dict[str, Any]:
    return {
        "tokenizer": byte_tokenizer(),
        "patch_size": 8,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "chat_template": CHAT_TEMPLATE.replace("IMAGE", "<image>"),
    }


def qwen(name: str, vision: dict[str, Any], text: dict[str, Any]) -> tuple[Any, Any]:
    tokenizer = byte_tokenizer(more_tokens=QWEN_TOKENS)
    start, end, image, video = tokenizer.convert_tokens_to_ids(QWEN_TOKENS)
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    config = getattr(tf, f"{name}Config")(
        text_config={**TEXT_SIZES, "num_key_value_heads": 1, "rope_parameters": rope, **text},
        vision_config={
            "depth": 2,
            "num_heads": 2,
            "hidden_size": 32,
            "patch_size": 4,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
            **vision,
        },
        vision_start_token_id=start,
        vision_end_token_id=end,
        image_token_id=image,
        video_token_id=video,
    )
    patches = {"patch_size": 4, "merge_size": 2, "temporal_patch_size": 2}
    sizes = {"shortest_edge": 64, "longest_edge": 1024}
    processor = getattr(tf, f"{name}Processor")(
        tf.Qwen2VLImageProcessor(size=sizes, **patches),
        tokenizer,
        tf.Qwen2VLVideoProcessor(**patches),
        chat_template=CHAT_TEMPLATE.replace("IMAGE", "<|vision_start|><|image_pad|><|vision_end|>"),
    )
    return getattr(tf, f"{name}ForConditionalGeneration")(config), processor


def qwen2_vl() -> tuple[Any, Any]:
    return qwen("Qwen2VL", {"embed_dim": 32, "mlp_ratio": 2}, {})


def qwen2_5_vl() -> tuple[Any, Any]:
    vision = {
        "out_hidden_size": 32,
        "intermediate_size": 48,
        "window_size": 16,
        "fullatt_block_indexes": [1],
    }
    return qwen("Qwen2_5_VL", vision, {})


VISION_MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "blip-2": blip_2,
    "fuyu": fuyu,
    "llava": llava,
    "llava_next": llava_next,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
}

OWN_CODE = """
from transformers import PretrainedConfig, PreTrainedModel
import torch

class TinyConfig(PretrainedConfig):
    model_type = "tiny_own_code"

class TinyModel(PreTrainedModel):
    config_class = TinyConfig

    def __init__(self, config):
        super().__init__(config)
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.post_init()

    def chat(self, image, msgs, context, tokenizer, sampling, max_new_tokens, **settings):
        noise = torch.randint(1000, (1,)).item() if sampling else 0
        red = image.resize((1, 1)).getpixel((0, 0))[0]
        answer = f"red {red}, noise {noise}, asked {msgs[0]['content']}"
        return answer, context, None
"""


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Save a tiny language model with its tokenizer: the folder."""

    def save(architecture: str = "llama", chat_template: str | None = CHAT_TEMPLATE) -> Path:
        folder = tmp_path_factory.getbasetemp() / f"{architecture}-{bool(chat_template)}"
        if not folder.exists():
            language_model(architecture).save_pretrained(folder)
            byte_tokenizer(chat_template).save_pretrained(folder)
        return folder

    return save


def teach(model: tf.PreTrainedModel, tokens: Sequence[int]) -> None:
    """Train a model, made blind to all but the newest token, to say these tokens in this order."""
    for name, weight in model.named_parameters():
        if name.endswith(("o_proj.weight", "self_attn.dense.weight", "self_attn.dense.bias")):
            weight.data.zero_()
            weight.requires_grad = False
    ids = torch.tensor([tokens])
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    model.eval()


@pytest.fixture(scope="session")
def taught_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """Save a tiny language model that answers every question with this sentence: the folder."""

    def save(architecture: str, sentence: str) -> Path:
        folder = tmp_path_factory.mktemp(architecture)
        tokenizer = byte_tokenizer()
        model = language_model(architecture)
        teach(model, tokenizer(f":{sentence}</s>").input_ids)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def saved_vision_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Save a tiny vision-language model with its processor: the folder."""

    def save(architecture: str) -> Path:
        folder = tmp_path_factory.getbasetemp() / architecture
        if not folder.exists():
            torch.manual_seed(0)
            model, processor = VISION_MODELS[architecture]()
            model.save_pretrained(folder)
            processor.save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def own_code_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that comes with code of its own, with the `chat` of MiniCPM-V-2."""
    folder = tmp_path_factory.mktemp("own-code")
    byte_tokenizer().save_pretrained(folder)
    (folder / "tiny_own_code.py").write_text(OWN_CODE, encoding="utf-8")
    config = tf.PretrainedConfig()
    config.auto_map = {
        "AutoConfig": "tiny_own_code.TinyConfig",
        "AutoModel": "tiny_own_code.TinyModel",
    }
    text = config.to_json_string(use_diff=False)
    (folder / "config.json").write_text(
        text.replace('"model_type": ""', '"model_type": "tiny_own_code"'), encoding="utf-8"
    )
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    return folder
