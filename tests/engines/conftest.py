"""Tiny randomly initialised models of real architectures, saved once for the tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PhiConfig,
    PhiForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
TEXT = [
    "a photo of a <CLASS>. a chalk drawing of a <CLASS> on a blackboard.",
    "[[ ## prompt ## ]] [[ ## completed ## ]] Question: Answer:",
]
CHAT_TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}</s>"
    "{% endfor %}{% if add_generation_prompt %}<s>assistant: {% endif %}"
)
SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 3,
}


def byte_tokenizer(chat_template: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer like GPT-2's, trained on a few words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
    )
    fast.chat_template = chat_template
    return fast


def language_model(architecture: str) -> PreTrainedModel:
    torch.manual_seed(0)
    if architecture == "phi":
        return PhiForCausalLM(PhiConfig(vocab_size=320, **SIZES))
    if architecture == "phi3":
        return Phi3ForCausalLM(Phi3Config(vocab_size=320, **SIZES))
    return LlamaForCausalLM(LlamaConfig(vocab_size=320, **SIZES))


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
