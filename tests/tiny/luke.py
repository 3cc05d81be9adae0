"""Japanese LUKE-lite (studio-ousia): a RoBERTa with entity tables, which sentence encoders do not use.

The tokenizer is mLUKE's, only as sentencepiece. `entity_vocab.json` has four entries ("lite").
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import LukeModel

from . import layout, tokenizer_files, weights
from .layout import SentenceFiles

SONOISA = "sonoisa/sentence-luke-japanese-base-lite"
GLUCOSE = "pkshatech/GLuCoSE-base-ja-v2"
HIDDEN = 48
FILES = {
    SONOISA: SentenceFiles(
        normalize=False,
        max_seq_length=80,
        do_lower_case=True,
        versions=("2.2.2", "4.26.1", "1.13.1+cu116"),
        legacy_pooling=True,
    ),
    GLUCOSE: SentenceFiles(normalize=False, versions=("3.0.0", "4.41.2", "2.3.0+cu118"), prompts={}),
}


def config(name: str, vocab_size: int) -> dict[str, Any]:
    """config.json with the real keys: 514 positions, entity-aware attention, entity vectors of another width."""
    return {
        "_name_or_path": "studio-ousia/luke-japanese-base-lite" if name == SONOISA else "pkshatech/GLuCoSE-base-ja",
        "architectures": ["LukeModel"],
        "attention_probs_dropout_prob": 0.1,
        "bert_model_name": "models/luke-japanese/hf_xlm_roberta",
        "bos_token_id": 0,
        "classifier_dropout": None,
        "cls_entity_prediction": False,
        "entity_emb_size": 16,
        "entity_vocab_size": 4,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": 2 * HIDDEN,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "model_type": "luke",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "transformers_version": "4.26.1",
        "type_vocab_size": 1,
        "use_cache": True,
        "use_entity_aware_attention": True,
        "vocab_size": vocab_size,
    }


def write(folder: Path, seed: int, *, name: str) -> None:
    """Write a repository: sonoisa's is a pickle, GLuCoSE-v2 is safetensors."""
    vocab_size = tokenizer_files.write_mluke(folder, max_length=512)
    model = weights.build_model(LukeModel, folder, config(name, vocab_size))
    weights.fill(model, weights.generator(name, seed))
    store = weights.write_pickle if name == SONOISA else weights.write_safetensors
    store(folder, weights.tensors(model, torch.float32))
    layout.write_sentence_files(folder, HIDDEN, FILES[name])
    layout.write_extras(folder, name)


BUILDERS: dict[str, Callable[[Path, int], None]] = {name: partial(write, name=name) for name in FILES}
