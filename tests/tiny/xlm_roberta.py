"""XLM-RoBERTa: the rerankers of BAAI, hotchpotch and Youdao, the embedders of BAAI, intfloat and Snowflake.

The position table has limit + 2 rows, because RoBERTa's positions start at padding_idx + 1 = 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import XLMRobertaForSequenceClassification, XLMRobertaModel

from . import layout, tokenizer_files, weights
from .layout import ONNX_EXTRAS, SentenceFiles

SPARSE_BIAS = 13.0
"""About half of the tokens have a weight."""
E5 = SentenceFiles(legacy_pooling=True)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The differences of one repository within its family; `sentence` None: a reranker."""

    name: str
    limit: int = 512
    hidden: int = 48
    sentence: SentenceFiles | None = None
    formats: tuple[str, ...] = ("safetensors",)
    position_ids: bool = False
    extras: tuple[str, ...] = ()
    config: tuple[tuple[str, Any], ...] = ()


REPOSITORIES = (
    Repository(name="hotchpotch/japanese-reranker-cross-encoder-small-v1", hidden=32),
    Repository(name="hotchpotch/japanese-bge-reranker-v2-m3-v1", limit=8192),
    Repository(name="BAAI/bge-reranker-v2-m3", limit=8192, extras=("assets/BEIR-bge-v2-m3.png",)),
    Repository(
        name="BAAI/bge-reranker-base",
        formats=("safetensors", "pickle"),
        position_ids=True,
        extras=("onnx/model.onnx",),
    ),
    Repository(name="BAAI/bge-reranker-large", formats=("safetensors", "pickle"), position_ids=True),
    Repository(name="maidalun1020/bce-reranker-base_v1", formats=("pickle",), extras=("assets/logo.png",)),
    Repository(
        name="BAAI/bge-m3",
        limit=8192,
        formats=("pickle",),
        sentence=SentenceFiles(
            pooling="cls",
            max_seq_length=8192,
            versions=("2.2.2", "4.33.0", "2.1.2+cu121"),
            legacy_pooling=True,
        ),
        extras=(
            *ONNX_EXTRAS,
            "onnx/model.onnx_data",
            "onnx/Constant_7_attr__value",
            "imgs/mkqa.jpg",
            "long.jpg",
        ),
    ),
    Repository(name="intfloat/multilingual-e5-large", sentence=E5, position_ids=True, extras=ONNX_EXTRAS),
    Repository(
        name="intfloat/multilingual-e5-base",
        sentence=E5,
        formats=("safetensors", "pickle"),
        position_ids=True,
        extras=ONNX_EXTRAS,
    ),
    Repository(
        name="sentence-transformers/paraphrase-multilingual-mpnet-base-v2",
        sentence=SentenceFiles(
            normalize=False, max_seq_length=128, versions=("2.0.0", "4.7.0", "1.9.0+cu102"), legacy_pooling=True
        ),
        formats=("safetensors", "pickle"),
        extras=("tf_model.h5", "onnx/model.onnx"),
    ),
    Repository(
        name="Snowflake/snowflake-arctic-embed-l-v2.0",
        limit=8192,
        sentence=SentenceFiles(
            pooling="cls",
            max_seq_length=8192,
            versions=("3.3.1", "4.46.3", "2.5.1+cu121"),
            prompts={"query": "query: "},
            similarity="cosine",
        ),
        extras=(*ONNX_EXTRAS, "onnx/model_fp16.onnx"),
    ),
)


def config(repository: Repository, vocab_size: int) -> dict[str, Any]:
    """config.json with the real keys, but narrower and with two layers."""
    reranker = repository.sentence is None
    head = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}} if reranker else {}
    return head | {
        "architectures": ["XLMRobertaForSequenceClassification" if reranker else "XLMRobertaModel"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "classifier_dropout": None,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": repository.hidden,
        "initializer_range": 0.02,
        "intermediate_size": 2 * repository.hidden,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": repository.limit + 2,
        "model_type": "xlm-roberta",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "output_past": True,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "transformers_version": "4.33.0",
        "type_vocab_size": 1,
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def write(folder: Path, seed: int, *, repository: Repository) -> None:
    """Write one repository of `REPOSITORIES`."""
    random = weights.generator(repository.name, seed)
    vocab_size = tokenizer_files.write_xlm_roberta(folder, max_length=repository.limit)
    settings = config(repository, vocab_size)
    if repository.sentence is None:
        model = weights.build_model(XLMRobertaForSequenceClassification, folder, settings)
        weights.fill(model, random)
        weights.spread_logits(model, model.classifier.out_proj, tokenizer_files.encode_pairs(folder))
    else:
        model = weights.build_model(XLMRobertaModel, folder, settings)
        weights.fill(model, random)
        layout.write_sentence_files(folder, repository.hidden, repository.sentence)
    prefix = "embeddings" if repository.sentence else "roberta.embeddings"
    state = weights.tensors(model, torch.float32, position_ids=prefix if repository.position_ids else None)
    if "safetensors" in repository.formats:
        weights.write_safetensors(folder, state)
    if "pickle" in repository.formats:
        weights.write_pickle(folder, state)
    layout.write_extras(folder, repository.name, repository.extras)
    if repository.name == "BAAI/bge-m3":
        write_bge_m3_heads(folder, repository.hidden, random)


def write_bge_m3_heads(folder: Path, hidden: int, random: torch.Generator) -> None:
    """Write the multi-vector head (H, H) and the sparse head (1, H), which dense retrieval does not use."""
    for name, rows, bias in (("colbert_linear.pt", hidden, 0.0), ("sparse_linear.pt", 1, SPARSE_BIAS)):
        head = {"weight": torch.randn(rows, hidden, generator=random), "bias": torch.full((rows,), bias)}
        weights.write_pickle(folder, head, name)


BUILDERS: dict[str, Callable[[Path, int], None]] = {
    repository.name: partial(write, repository=repository) for repository in REPOSITORIES
}
