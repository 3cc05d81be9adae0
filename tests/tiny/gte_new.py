"""Tiny Alibaba-NLP/gte-multilingual-reranker-base and -base: model_type "new", with code in another repository."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..references import gte_new as reference
from .jina_v2_flash import (
    Shapes,
    draw,
    linear_shapes,
    norm_shapes,
    sample_pairs,
    save,
    spread,
    write_code,
    write_xlm_roberta_json,
)
from .layout import SentenceFiles, write_extras, write_json, write_sentence_files

RERANKER = "Alibaba-NLP/gte-multilingual-reranker-base"
EMBEDDER = "Alibaba-NLP/gte-multilingual-base"
GAINS = {"qkv_proj.weight": 1.8, "o_proj.weight": 2.0, "down_proj.weight": 3.0, "pooler.dense.weight": 1.5}
HEADS = ("MaskedLM", "MultipleChoice", "QuestionAnswering", "SequenceClassification", "TokenClassification")


def _config(vocab_size: int, architectures: list[str]) -> dict[str, Any]:
    """config.json with the embedding table rounded up; the original has 250048 rows for 250002 ids."""
    code = "Alibaba-NLP/new-impl--"
    classes = {"AutoConfig": f"{code}configuration.NewConfig", "AutoModel": f"{code}modeling.NewModel"}
    classes |= {f"AutoModelFor{head}": f"{code}modeling.NewFor{head}" for head in HEADS}
    return {
        "architectures": architectures,
        "attention_probs_dropout_prob": 0.0,
        "auto_map": classes,
        "classifier_dropout": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 64,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-12,
        "layer_norm_type": "layer_norm",
        "logn_attention_clip1": False,
        "logn_attention_scale": False,
        "max_position_embeddings": 8192,
        "model_type": "new",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pack_qkv": True,
        "pad_token_id": 1,
        "position_embedding_type": "rope",
        "rope_scaling": {"factor": 8.0, "type": "ntk"},
        "rope_theta": 20000,
        "torch_dtype": "float16",
        "transformers_version": "4.39.1",
        "type_vocab_size": 1,
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
        "vocab_size": -(-vocab_size // 64) * 64,
    }


def _shapes(config: dict[str, Any], *, pooler: bool) -> Shapes:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    shapes: Shapes = {
        "new.embeddings.word_embeddings.weight": (config["vocab_size"], hidden),
        "new.embeddings.token_type_embeddings.weight": (config["type_vocab_size"], hidden),
    }
    shapes |= norm_shapes("new.embeddings.LayerNorm", hidden)
    for layer in range(config["num_hidden_layers"]):
        name = f"new.encoder.layer.{layer}"
        shapes |= linear_shapes(f"{name}.attention.qkv_proj", hidden, 3 * hidden)
        shapes |= linear_shapes(f"{name}.attention.o_proj", hidden, hidden)
        shapes |= linear_shapes(f"{name}.mlp.up_gate_proj", hidden, 2 * inner, bias=False)
        shapes |= linear_shapes(f"{name}.mlp.down_proj", inner, hidden)
        shapes |= norm_shapes(f"{name}.attn_ln", hidden) | norm_shapes(f"{name}.mlp_ln", hidden)
    if pooler:
        shapes |= linear_shapes("new.pooler.dense", hidden, hidden)
    return shapes | linear_shapes("classifier", hidden, 1)


def build_reranker(folder: Path, seed: int) -> None:
    """The reranker: fp16, pooler and classifier, no code in the repository."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(write_xlm_roberta_json(folder, 8192), ["NewForSequenceClassification"])
    write_json(folder / "config.json", config)
    tensors = draw(RERANKER, seed, _shapes(config, pooler=True), GAINS)
    save(folder, tensors, torch.float16)
    logits = reference.logits(folder, sample_pairs(), 8192)
    save(folder, spread(tensors, "classifier", logits), torch.float16)
    write_extras(folder, RERANKER, ["images/mgte-reranker.png"])


def build_embedder(folder: Path, seed: int) -> None:
    """The embedding model: no pooler, a token classifier for sparse vectors, CLS and Normalize modules."""
    folder.mkdir(parents=True, exist_ok=True)
    config = _config(write_xlm_roberta_json(folder, 8192), ["NewModel", "NewForTokenClassification"])
    write_json(folder / "config.json", config)
    save(folder, draw(EMBEDDER, seed, _shapes(config, pooler=False), GAINS), torch.float16)
    files = SentenceFiles(pooling="cls", max_seq_length=8192, versions=None)
    write_sentence_files(folder, config["hidden_size"], files)
    (folder / "scripts").mkdir(exist_ok=True)
    write_code(folder / "scripts", ["gte_embedding"])
    write_extras(folder, EMBEDDER)


BUILDERS: dict[str, Callable[[Path, int], None]] = {RERANKER: build_reranker, EMBEDDER: build_embedder}
