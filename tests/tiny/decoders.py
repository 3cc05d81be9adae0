"""Decoders as embedding models, without a language-model head: sarashina-embedding-v2-1b (Llama, last token, float32)
and Nemotron-3-Embed (Ministral 3 with attention in both directions, mean pooling, bfloat16).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaModel, Ministral3Model

from . import layout, tokenizer_files, vocab, weights
from .layout import SentenceFiles

SARASHINA = "sbintuitions/sarashina-embedding-v2-1b"
NEMOTRON = "nvidia/Nemotron-3-Embed-1B-BF16"
HIDDEN = 48
SARASHINA_FILES = SentenceFiles(
    pooling="lasttoken",
    include_prompt=False,  # HAKARI-Bench's model card
    normalize=False,
    max_seq_length=8192,
    versions=("5.0.0", "4.53.0", "2.7.1+cu126"),
)
NEMOTRON_FILES = SentenceFiles(
    max_seq_length=32768,
    versions=("5.4.1", "5.2.0", "2.9.0+cu128"),
    prompts={"query": "query: ", "document": "passage: "},
    similarity="cosine",
)
SPECIAL = ("<unk>", "<s>", "</s>", "<pad>")


def config(vocab_size: int, **own: Any) -> dict[str, Any]:
    """The keys of config.json that both have; two heads share keys."""
    return {
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "tie_word_embeddings": False,
        "use_cache": False,
        "vocab_size": vocab_size,
    } | own


def write_sarashina(folder: Path, seed: int) -> None:
    """Unigram pieces with `<s>` and `</s>` around a text; the result is that of `</s>`."""
    tokenizer = vocab.llama_unigram()
    (folder / "tokenizer.model").write_bytes(vocab.llama_unigram_pieces().model)
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    own = names | {"add_bos_token": True, "add_eos_token": True, "legacy": False, "model_max_length": 8192}
    tokenizer_files.write_tokenizer(
        folder, tokenizer, config=own | {"tokenizer_class": "LlamaTokenizer"}, special=names
    )
    settings = config(
        tokenizer.get_vocab_size(),
        architectures=["LlamaModel"],
        attention_bias=False,
        bos_token_id=1,
        eos_token_id=2,
        head_dim=12,
        max_position_embeddings=8192,
        mlp_bias=False,
        model_type="llama",
        pad_token_id=3,
        pretraining_tp=1,
        rope_scaling=None,
        rope_theta=500000.0,
        torch_dtype="float32",
    )
    model = weights.build_model(LlamaModel, folder, settings)
    weights.fill(model, weights.generator(SARASHINA, seed))
    weights.write_safetensors(folder, weights.tensors(model, torch.float32))
    layout.write_sentence_files(folder, HIDDEN, SARASHINA_FILES)
    layout.write_extras(folder, SARASHINA, ("LICENSE", "README_JA.md"))


def write_nemotron(folder: Path, seed: int) -> None:
    """Byte-level pieces after `<s>`; YaRN, and attention that is scaled with the position."""
    tokenizer = vocab.byte_level_bpe(950, split=vocab.QWEN_SPLIT, special=SPECIAL)
    ids = tokenizer.get_vocab()
    tokenizer.post_processor = vocab.template("<s>", "", ids, "<s> $A <s>:1 $B:1")
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    own = names | {"model_max_length": 32768, "tokenizer_class": "TokenizersBackend"}
    tokenizer_files.write_tokenizer(folder, tokenizer, config=own, special=names)
    rope = {
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "factor": 16.0,
        "llama_4_scaling_beta": 0.1,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 16384,
        "rope_theta": 1000000.0,
        "rope_type": "yarn",
    }
    settings = config(
        -(-tokenizer.get_vocab_size() // 64) * 64,
        architectures=["Ministral3Model"],
        bos_token_id=ids["<s>"],
        dtype="bfloat16",
        eos_token_id=ids["</s>"],
        head_dim=16,
        is_causal=False,
        max_position_embeddings=262144,
        model_type="ministral3",
        pad_token_id=ids["<pad>"],
        rope_parameters=rope,
        sliding_window=None,
        tie_word_embeddings=True,
    )
    model = weights.build_model(Ministral3Model, folder, settings)
    weights.fill(model, weights.generator(NEMOTRON, seed))
    weights.write_safetensors(folder, weights.tensors(model, torch.bfloat16))
    layout.write_sentence_files(folder, HIDDEN, NEMOTRON_FILES)
    layout.write_extras(folder, NEMOTRON)


BUILDERS: dict[str, Callable[[Path, int], None]] = {SARASHINA: write_sarashina, NEMOTRON: write_nemotron}
