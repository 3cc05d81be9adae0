"""Qwen3-Embedding and Qwen3-Reranker: decoders whose result is the last token, stored in bfloat16.

The embedding model's tensors have no `model.` prefix, although its config has Qwen3ForCausalLM. The reranker's have
the prefix, and its output is tied to the word table, so neither file has `lm_head`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import torch
from transformers import Qwen3ForCausalLM, Qwen3Model

from . import layout, tokenizer_files, vocab, weights
from .layout import SentenceFiles

EMBEDDING = "Qwen/Qwen3-Embedding-0.6B"
RERANKER = "Qwen/Qwen3-Reranker-0.6B"
HIDDEN = 64
END, TURN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (END, TURN, TURN_END)
THOUGHT = ("<think>", "</think>")
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}"
    "{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}"
    "{%- endif %}{%- endif %}"
)
"""Qwen3's chat template without tools and thinking, for the reranker's prompt."""
PROMPTS = {
    "query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:",
    "document": "",
}
FILES = SentenceFiles(pooling="lasttoken", max_seq_length=None, versions=None, prompts=PROMPTS, similarity="cosine")
JUDGE = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct"
    ' provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: Given'
    " a web search query, retrieve relevant passages that answer the query\n<Query>: {query}"
    "\n<Document>: {document}"
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
"""The model card's prompt; "yes" and "no" are compared at its last token."""


def write_tokenizer(folder: Path, *, closing: bool) -> tokenizers.Tokenizer:
    """Write vocab.json, merges.txt and the fast files; `closing` appends `<|endoftext|>` to texts (embedding)."""
    tokenizer = vocab.byte_level_bpe(950, split=vocab.QWEN_SPLIT, special=SPECIAL)
    tokenizer.add_tokens([tokenizers.AddedToken(token, normalized=False) for token in THOUGHT])
    frame: tokenizers.processors.PostProcessor = tokenizers.processors.ByteLevel(trim_offsets=False, use_regex=False)
    if closing:
        ending = vocab.template("", END, tokenizer.get_vocab(), f"$A {END} $B {END}")
        frame = tokenizers.processors.Sequence([frame, ending])
    tokenizer.post_processor = frame
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "additional_special_tokens": list(SPECIAL[1:]),
        "bos_token": None,
        "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": TURN_END,
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": END,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    tokenizer_files.write_tokenizer(folder, tokenizer, config=config, special=None)
    tokenizer_files.write_byte_level_source(folder, tokenizer)
    return tokenizer


def config(tokenizer: tokenizers.Tokenizer, *, limit: int, end: str) -> dict[str, Any]:
    """config.json with the real keys; head_dim differs from hidden / heads, and two heads share keys."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.token_to_id(END),
        "eos_token_id": tokenizer.token_to_id(end),
        "head_dim": 32,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_position_embeddings": limit,
        "max_window_layers": 2,
        "model_type": "qwen3",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.3",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": -(-tokenizer.get_vocab_size() // 64) * 64,
    }


def write_generation_config(folder: Path, tokenizer: tokenizers.Tokenizer) -> None:
    """Write generation_config.json, which scoring does not use."""
    end = tokenizer.token_to_id(END)
    layout.write_json(
        folder / "generation_config.json",
        {
            "bos_token_id": end,
            "do_sample": True,
            "eos_token_id": [tokenizer.token_to_id(TURN_END), end],
            "top_k": 20,
        },
    )


def write_embedding(folder: Path, seed: int) -> None:
    """Transformer, last-token pooling, Normalize; no sentence_bert_config.json, as in the real repository."""
    tokenizer = write_tokenizer(folder, closing=True)
    model = weights.build_model(Qwen3Model, folder, config(tokenizer, limit=32768, end=END))
    weights.fill(model, weights.generator(EMBEDDING, seed))
    weights.write_safetensors(folder, weights.tensors(model, torch.bfloat16))
    layout.write_sentence_files(folder, HIDDEN, FILES)
    write_generation_config(folder, tokenizer)
    layout.write_extras(folder, EMBEDDING)


def write_reranker(folder: Path, seed: int) -> None:
    """A causal model whose score is logit("yes") - logit("no") after the prompt of the model card."""
    random = weights.generator(RERANKER, seed)
    tokenizer = write_tokenizer(folder, closing=False)
    model = weights.build_model(Qwen3ForCausalLM, folder, config(tokenizer, limit=40960, end=TURN_END))
    weights.fill(model, random)
    answers = [tokenizer.token_to_id(word) for word in ("yes", "no")]
    prompts = [JUDGE.format(query=query, document=document) for query, document in tokenizer_files.PAIRS]
    weights.spread_answers(model, [tokenizer.encode(prompt).ids for prompt in prompts], answers, random)
    weights.write_safetensors(folder, weights.tensors(model, torch.bfloat16))
    write_generation_config(folder, tokenizer)
    layout.write_extras(folder, RERANKER)


BUILDERS: dict[str, Callable[[Path, int], None]] = {EMBEDDING: write_embedding, RERANKER: write_reranker}
