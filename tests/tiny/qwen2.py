"""mxbai-rerank v2: Qwen2.5 with Qwen's tokenizer, whose score is logit("1") - logit("0") after a prompt."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen2ForCausalLM

from . import layout, qwen3, tokenizer_files, weights

NAME = "mixedbread-ai/mxbai-rerank-base-v2"
PROMPT = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\nquery: {query}\ndocument: {document}\nYou are a search relevance expert who evaluates how well "
    "documents match search queries. For each query-document pair, carefully analyze the semantic relationship between "
    "them, then provide your binary relevance judgment (0 for not relevant, 1 for relevant).\nRelevance:<|im_end|>\n"
    "<|im_start|>assistant\n"
)
"""The prompt of the authors' library."""


def config(vocab_size: int) -> dict[str, Any]:
    """config.json with the real keys, but narrower and with two layers; two heads share keys."""
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "hidden_act": "silu",
        "hidden_size": 48,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "max_position_embeddings": 32768,
        "max_window_layers": 2,
        "model_type": "qwen2",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.49.0",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": vocab_size,
    }


def write(folder: Path, seed: int) -> None:
    """The weights in bfloat16, the output tied to the word table."""
    random = weights.generator(NAME, seed)
    tokenizer = qwen3.write_tokenizer(folder, closing=False)
    model = weights.build_model(Qwen2ForCausalLM, folder, config(-(-tokenizer.get_vocab_size() // 64) * 64))
    weights.fill(model, random)
    prompts = [PROMPT.format(query=query, document=document) for query, document in tokenizer_files.PAIRS]
    answers = [tokenizer.token_to_id(answer) for answer in ("1", "0")]
    weights.spread_answers(model, [tokenizer.encode(prompt).ids for prompt in prompts], answers, random)
    weights.write_safetensors(folder, weights.tensors(model, torch.bfloat16))
    qwen3.write_generation_config(folder, tokenizer)
    layout.write_extras(folder, NAME)


BUILDERS: dict[str, Callable[[Path, int], None]] = {NAME: write}
