"""A tiny intfloat/e5-mistral-7b-instruct, and the parts that NV-Embed shares: tokenizer and Mistral tensors."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from . import corpus, vocab
from .jina_v2_flash import Shapes, draw, linear_shapes, save
from .layout import SentenceFiles, write_extras, write_json, write_sentence_files
from .tokenizer_files import NO_LIMIT, write_tokenizer

NAME = "intfloat/e5-mistral-7b-instruct"
GAINS = {"q_proj.weight": 2.0, "k_proj.weight": 2.0, "o_proj.weight": 1.5, "down_proj.weight": 2.0}
SPECIALS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
TASKS = {
    "web_search_query": "Given a web search query, retrieve relevant passages that answer the query",
    "sts_query": "Retrieve semantically similar text",
    "summarization_query": "Given a news summary, retrieve other semantically similar summaries",
    "bitext_query": "Retrieve parallel sentences",
}


@cache
def _word_pieces() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Pieces and merges of sentencepiece's BPE, with `▁` only at the start of a piece."""
    words = Tokenizer(models.BPE())
    words.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=[vocab.SPACE], show_progress=False)
    words.train_from_iterator((*corpus.LINES * 2, corpus.KANA, corpus.ASCII), trainer)
    trained = json.loads(words.to_str())["model"]
    pieces = tuple(sorted(trained["vocab"], key=trained["vocab"].__getitem__))
    return pieces, tuple((left, right) for left, right in trained["merges"])


def llama_tokenizer() -> Tokenizer:
    """`<unk>` 0, `<s>` 1, `</s>` 2, 256 byte tokens, the pieces; the pipeline of Mistral-7B-v0.1.

    The post-processor adds only `<s>`, regardless of the end token in tokenizer_config.json.
    """
    pieces, merges = _word_pieces()
    ids = {piece: index for index, piece in enumerate(("<unk>", "<s>", "</s>", *vocab.BYTE_PIECES, *pieces))}
    tokenizer = Tokenizer(models.BPE(ids, list(merges), unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend(vocab.SPACE), normalizers.Replace(" ", vocab.SPACE)]
    )
    back = [decoders.Replace(vocab.SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*back, decoders.Strip(" ", 1, 0)])
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    return tokenizer


def write_llama_tokenizer(folder: Path, *, add_eos_token: bool) -> int:
    """Write the tokenizer's files; return the number of ids."""
    tokenizer = llama_tokenizer()
    config = SPECIALS | {
        "add_bos_token": True,
        "add_eos_token": add_eos_token,
        "additional_special_tokens": [],
        "clean_up_tokenization_spaces": False,
        "legacy": True,
        "model_max_length": NO_LIMIT,
        "pad_token": "</s>",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
        "use_default_system_prompt": False,
    }
    write_tokenizer(folder, tokenizer, config=config, special=SPECIALS | {"pad_token": "</s>"})
    return int(tokenizer.get_vocab_size())


def mistral_config(vocab_size: int) -> dict[str, Any]:
    """The keys of MistralModel's config that both repositories have."""
    return {
        "architectures": ["MistralModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": 64,
        "initializer_range": 0.02,
        "intermediate_size": 112,
        "max_position_embeddings": 32768,
        "model_type": "mistral",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
        "sliding_window": 4096,
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
        "vocab_size": vocab_size,
    }


def mistral_shapes(config: dict[str, Any], prefix: str) -> Shapes:
    """Names and shapes of a MistralModel without its language-model head."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shared = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    shapes: Shapes = {f"{prefix}embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        name = f"{prefix}layers.{layer}"
        for part, outputs in (("q_proj", hidden), ("k_proj", shared), ("v_proj", shared), ("o_proj", hidden)):
            shapes |= linear_shapes(f"{name}.self_attn.{part}", hidden, outputs, bias=False)
        shapes |= linear_shapes(f"{name}.mlp.gate_proj", hidden, inner, bias=False)
        shapes |= linear_shapes(f"{name}.mlp.up_proj", hidden, inner, bias=False)
        shapes |= linear_shapes(f"{name}.mlp.down_proj", inner, hidden, bias=False)
        shapes |= {
            f"{name}.input_layernorm.weight": (hidden,),
            f"{name}.post_attention_layernorm.weight": (hidden,),
        }
    return shapes | {f"{prefix}norm.weight": (hidden,)}


def build(folder: Path, seed: int) -> None:
    """Write the repository: fp16 in two shards, last-token pooling, prompts with task names."""
    folder.mkdir(parents=True, exist_ok=True)
    config = mistral_config(write_llama_tokenizer(folder, add_eos_token=True))
    config |= {"_name_or_path": "mistralai/Mistral-7B-v0.1", "pad_token_id": 2, "use_cache": False}
    write_json(folder / "config.json", config | {"transformers_version": "4.34.0"})
    save(folder, draw(NAME, seed, mistral_shapes(config, ""), GAINS), torch.float16, shards=2)
    prompts = {name: f"Instruct: {task}\nQuery: " for name, task in TASKS.items()}
    files = SentenceFiles(pooling="lasttoken", max_seq_length=4096, versions=None, prompts=prompts)
    write_sentence_files(folder, config["hidden_size"], files)
    write_json(folder / "lora" / "adapter_config.json", {"peft_type": "LORA", "r": 16})
    write_extras(folder, NAME, ["lora/adapter_model.bin"])


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: build}
