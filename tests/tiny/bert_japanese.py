"""Japanese BERT (cl-tohoku v2 and v3): MeCab words, then word pieces, and no tokenizer.json.

The rerankers were trained with segments 0 and 1. The segment table has large values, so that a tokenizer without
`token_type_ids` (transformers 5) changes the scores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import BertForSequenceClassification, BertModel

from . import layout, tokenizer_files, weights
from .layout import SentenceFiles

RURI = SentenceFiles(normalize=False, versions=("3.0.0", "4.41.2", "2.3.1+cu118"), prompts={})


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The differences of one repository within its family."""

    name: str
    reranker: bool = False
    sentence: SentenceFiles | None = None
    pickle: bool = False
    dtype: torch.dtype = torch.float32
    max_length: int = 512


REPOSITORIES = (
    Repository(name="hotchpotch/japanese-reranker-cross-encoder-large-v1", reranker=True),
    Repository(name="hotchpotch/japanese-reranker-cross-encoder-base-v1", reranker=True),
    Repository(name="cl-nagoya/ruri-large", sentence=RURI, dtype=torch.bfloat16),
    Repository(name="cl-nagoya/ruri-base", sentence=RURI, dtype=torch.bfloat16),
    Repository(name="MU-Kindai/Japanese-SimCSE-BERT-large-unsup", pickle=True, max_length=tokenizer_files.NO_LIMIT),
)


def config(repository: Repository, vocab_size: int) -> dict[str, Any]:
    """config.json with the real keys; it names the tokenizer's class, as does the tokenizer's own file."""
    head = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}} if repository.reranker else {}
    return head | {
        "architectures": ["BertForSequenceClassification" if repository.reranker else "BertModel"],
        "attention_probs_dropout_prob": 0.1,
        "classifier_dropout": None,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 48,
        "initializer_range": 0.02,
        "intermediate_size": 96,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "model_type": "bert",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "tokenizer_class": "BertJapaneseTokenizer",
        "torch_dtype": str(repository.dtype).removeprefix("torch."),
        "transformers_version": "4.41.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": vocab_size,
    }


def write(folder: Path, seed: int, *, repository: Repository) -> None:
    """Write one repository of `REPOSITORIES`; Japanese-SimCSE is a pickle without modules.json or pooling."""
    random = weights.generator(repository.name, seed)
    vocab_size = tokenizer_files.write_bert_japanese(folder, max_length=repository.max_length)
    model_class = BertForSequenceClassification if repository.reranker else BertModel
    model = weights.build_model(model_class, folder, config(repository, vocab_size))
    weights.fill(model, random)
    if repository.reranker:
        weights.spread_logits(model, model.classifier, tokenizer_files.encode_japanese_pairs(folder))
    if repository.sentence is not None:
        layout.write_sentence_files(folder, model.config.hidden_size, repository.sentence)
    if repository.pickle:
        weights.write_pickle(folder, weights.tensors(model, repository.dtype, position_ids="embeddings"))
    else:
        weights.write_safetensors(folder, weights.tensors(model, repository.dtype))
    layout.write_extras(folder, repository.name)


BUILDERS: dict[str, Callable[[Path, int], None]] = {
    repository.name: partial(write, repository=repository) for repository in REPOSITORIES
}
