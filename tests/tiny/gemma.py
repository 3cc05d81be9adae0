"""Gemma: embeddinggemma-300m, harrier-oss-v1-270m and bge-reranker-v2-gemma.

embeddinggemma is Gemma 3 with bidirectional attention, mean pooling, two dense layers and Normalize; harrier is causal,
with the last token; the reranker is the first Gemma, whose score is logit("Yes") after a prompt.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import torch
from transformers import Gemma3TextModel, GemmaForCausalLM

from . import jina_v2_flash, layout, tokenizer_files, vocab, weights
from .layout import SentenceFiles

NAME = "google/embeddinggemma-300m"
HARRIER = "microsoft/harrier-oss-v1-270m"
RERANKER = "BAAI/bge-reranker-v2-gemma"
HIDDEN = 48
TASKS = {
    "BitextMining": "search result",
    "Clustering": "clustering",
    "Classification": "classification",
    "InstructionRetrieval": "code retrieval",
    "MultilabelClassification": "classification",
    "PairClassification": "sentence similarity",
    "Reranking": "search result",
    "Retrieval": "search result",
    "Retrieval-query": "search result",
    "STS": "sentence similarity",
    "Summarization": "summarization",
}
DOCUMENT = "title: none | text: "
PROMPTS = {
    "query": "task: search result | query: ",
    "document": DOCUMENT,
    **{name: f"task: {task} | query: " for name, task in TASKS.items()},
    "Retrieval-document": DOCUMENT,
}
FILES = SentenceFiles(
    max_seq_length=2048,
    versions=("5.1.0", "4.57.0.dev0", "2.8.0+cu128"),
    prompts=PROMPTS,
    similarity="cosine",
    middle_modules=("Dense", "Dense"),
)


HARRIER_FILES = SentenceFiles(
    pooling="lasttoken",
    max_seq_length=32768,
    versions=("5.2.0", "4.57.0", "2.8.0+cu128"),
    prompts={
        "web_search_query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
        "Query: "
    },
    similarity="cosine",
)
QUESTION = (
    "<bos>A: {query}\nB: {document}\nGiven a query A and a passage B, determine whether the passage contains an answer "
    "to the query by providing a prediction of either 'Yes' or 'No'."
)
"""The prompt of the reranker's authors."""


def write_tokenizer(folder: Path, *, answers: tuple[str, ...] = ()) -> int:
    """tokenizer.model and the fast files of Gemma; returns the table size. `answers` are whole tokens, as in Gemma."""
    tokenizer = vocab.gemma()
    tokenizer.add_tokens([tokenizers.AddedToken(answer, normalized=False) for answer in answers])
    (folder / "tokenizer.model").write_bytes(vocab.gemma_pieces().model)
    names = {"bos_token": "<bos>", "eos_token": "<eos>", "mask_token": "<mask>", "pad_token": "<pad>"}
    names["unk_token"] = "<unk>"
    config = names | {
        "add_bos_token": True,
        "add_eos_token": True,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "sp_model_kwargs": None,
        "spaces_between_special_tokens": False,
        "tokenizer_class": "GemmaTokenizer",
        "use_default_system_prompt": False,
    }
    special = {key: tokenizer_files.added_token(token) for key, token in names.items()}
    tokenizer_files.write_tokenizer(folder, tokenizer, config=config, special=special)
    return tokenizer.get_vocab_size()


def config(vocab_size: int) -> dict[str, Any]:
    """config.json with the real keys; `sliding_window` is the total width, which transformers halves."""
    return {
        "_sliding_window_pattern": 6,
        "architectures": ["Gemma3TextModel"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "attn_logit_softcapping": None,
        "bos_token_id": 2,
        "dtype": "float32",
        "eos_token_id": 1,
        "final_logit_softcapping": None,
        "head_dim": 16,
        "hidden_activation": "gelu_pytorch_tanh",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 72,
        "layer_types": ["sliding_attention", "full_attention"],
        "max_position_embeddings": 2048,
        "model_type": "gemma3_text",
        "num_attention_heads": 3,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "pad_token_id": 0,
        "query_pre_attn_scalar": 16,
        "rms_norm_eps": 1e-06,
        "rope_local_base_freq": 10000.0,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": 512,
        "transformers_version": "4.57.0.dev0",
        "use_bidirectional_attention": True,
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def write(folder: Path, seed: int) -> None:
    """Hidden H -> 4H -> H through 2_Dense and 3_Dense, each (out, in) without bias and without activation."""
    random = weights.generator(NAME, seed)
    model = weights.build_model(Gemma3TextModel, folder, config(write_tokenizer(folder)))
    weights.fill(model, random)
    weights.write_safetensors(folder, weights.tensors(model, torch.float32))
    layout.write_sentence_files(folder, HIDDEN, FILES)
    for name, inputs, outputs in (("2_Dense", HIDDEN, 4 * HIDDEN), ("3_Dense", 4 * HIDDEN, HIDDEN)):
        dense = torch.randn(outputs, inputs, generator=random) / inputs**0.5
        layout.write_dense(folder / name, dense, "linear.Identity")
    layout.write_json(folder / "added_tokens.json", {})
    layout.write_json(folder / "generation_config.json", {"cache_implementation": "hybrid", "top_k": 64})
    layout.write_extras(folder, NAME)


def write_harrier(folder: Path, seed: int) -> None:
    """Transformer, last-token pooling, Normalize, in bfloat16."""
    settings = config(write_tokenizer(folder)) | {
        "max_position_embeddings": 32768,
        "use_bidirectional_attention": False,
    }
    model = weights.build_model(Gemma3TextModel, folder, settings | {"dtype": "bfloat16"})
    weights.fill(model, weights.generator(HARRIER, seed))
    weights.write_safetensors(folder, weights.tensors(model, torch.bfloat16))
    layout.write_sentence_files(folder, HIDDEN, HARRIER_FILES)
    layout.write_extras(folder, HARRIER)


def reranker_config(vocab_size: int) -> dict[str, Any]:
    """config.json of the first Gemma with the real keys."""
    return {
        "architectures": ["GemmaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "head_dim": 16,
        "hidden_act": "gelu",
        "hidden_activation": None,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 72,
        "max_position_embeddings": 8192,
        "model_type": "gemma",
        "num_attention_heads": 3,
        "num_hidden_layers": 2,
        "num_key_value_heads": 1,
        "pad_token_id": 0,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "torch_dtype": "float32",
        "transformers_version": "4.38.2",
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def write_reranker(folder: Path, seed: int) -> None:
    """The weights in float32 and in three shards, the output tied to the word table."""
    random = weights.generator(RERANKER, seed)
    model = weights.build_model(GemmaForCausalLM, folder, reranker_config(write_tokenizer(folder, answers=("Yes",))))
    weights.fill(model, random)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    prompts = [QUESTION.format(query=query, document=document) for query, document in tokenizer_files.PAIRS]
    ids = [tokenizer.encode(prompt, add_special_tokens=False).ids for prompt in prompts]
    weights.spread_answers(model, ids, [tokenizer.token_to_id("Yes")], random)
    jina_v2_flash.save(folder, weights.tensors(model, torch.float32), torch.float32, shards=3)
    layout.write_extras(folder, RERANKER, ("assets/BEIR-e5-mistral.png",))


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: write, HARRIER: write_harrier, RERANKER: write_reranker}
