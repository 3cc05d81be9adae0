"""jina-embeddings-v3-hf: XLM-RoBERTa with rotary positions, and one LoRA adapter for each task in a folder of its own.

Which layers the adapters change is not known here: these change those that the original's remote code does.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import JinaEmbeddingsV3Model

from . import layout, tokenizer_files, weights

REPO = "jinaai/jina-embeddings-v3-hf"
TASKS = ("retrieval_query", "retrieval_passage", "separation", "classification", "text_matching")
HIDDEN = 32
LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2", "word_embeddings")


def config(vocab_size: int) -> dict[str, Any]:
    """config.json of transformers' own class, but narrower and with two layers."""
    return {
        "architectures": ["JinaEmbeddingsV3Model"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "classifier_dropout": None,
        "dtype": "float32",
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 2 * HIDDEN,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 8194,
        "model_type": "jina_embeddings_v3",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 1,
        "rope_parameters": {"rope_theta": 20000.0, "rope_type": "default"},
        "transformers_version": "5.4.0",
        "type_vocab_size": 1,
        "vocab_size": vocab_size,
    }


def write(folder: Path, seed: int) -> None:
    """The network without an adapter, and the adapters."""
    random = weights.generator(REPO, seed)
    vocab_size = tokenizer_files.write_xlm_roberta(folder, max_length=8192)
    model = weights.build_model(JinaEmbeddingsV3Model, folder, config(vocab_size))
    weights.fill(model, random)
    weights.write_safetensors(folder, weights.tensors(model, torch.float32))
    for task in TASKS:
        _write_adapter(folder / task, model, random)
    layout.write_extras(folder, REPO)


def _write_adapter(folder: Path, model: Any, random: torch.Generator) -> None:
    settings = LoraConfig(r=4, lora_alpha=4, target_modules=list(LINEAR), task_type="FEATURE_EXTRACTION")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = get_peft_model(model, settings)
        for name, parameter in sorted(adapted.named_parameters()):
            if "lora" in name:
                parameter.data = torch.randn(parameter.shape, generator=random) * 0.2
        adapted.save_pretrained(str(folder))
        adapted.unload()


BUILDERS: dict[str, Callable[[Path, int], None]] = {f"{REPO}/{task}": write for task in TASKS}
