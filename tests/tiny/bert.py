"""BERT with English word pieces: MiniLM, E5, BGE, mxbai-embed and the ms-marco rerankers.

Also multilingual-e5-small and paraphrase-multilingual-MiniLM-L12-v2, with XLM-R's tokenizer, and LaBSE, with a dense
layer after its pooling (and here an uncased vocabulary).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
import torch
from transformers import BertForSequenceClassification, BertModel

from . import layout, tokenizer_files, weights
from .layout import ONNX_EXTRAS, OPENVINO_EXTRAS, SentenceFiles

E5 = SentenceFiles(legacy_pooling=True, versions=None)
PARAPHRASE = SentenceFiles(
    normalize=False, max_seq_length=128, versions=("2.0.0", "4.7.0", "1.9.0+cu102"), legacy_pooling=True
)
LABSE = SentenceFiles(
    pooling="cls",
    max_seq_length=256,
    versions=("2.0.0", "4.7.0", "1.9.0+cu102"),
    legacy_pooling=True,
    middle_modules=("Dense",),
)
BGE = SentenceFiles(
    pooling="cls", do_lower_case=True, versions=("2.2.2", "4.28.1", "1.13.0+cu117"), legacy_pooling=True
)


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The differences of one repository within its family; `sentence` None: a reranker."""

    name: str
    hidden: int = 48
    sentence: SentenceFiles | None = None
    formats: tuple[str, ...] = ("safetensors",)
    position_ids: bool = True
    dtype: torch.dtype = torch.float32
    xlm_roberta_tokenizer: bool = False
    tokenizer_truncation: int | None = None
    extras: tuple[str, ...] = ()


MS_MARCO = tuple(
    Repository(
        name=f"cross-encoder/ms-marco-MiniLM-{layers}-v2",
        hidden=32,
        formats=("safetensors", "pickle"),
        extras=("flax_model.msgpack", "onnx/model.onnx", *OPENVINO_EXTRAS),
    )
    for layers in ("L6", "L12", "L-6", "L-12")
)
REPOSITORIES = (
    Repository(
        name="sentence-transformers/all-MiniLM-L6-v2",
        hidden=32,
        sentence=SentenceFiles(max_seq_length=256, versions=("2.0.0", "4.6.1", "1.8.1"), legacy_pooling=True),
        formats=("safetensors", "pickle"),
        tokenizer_truncation=128,
        extras=(
            "data_config.json",
            "train_script.py",
            "rust_model.ot",
            "tf_model.h5",
            "onnx/model.onnx",
            *OPENVINO_EXTRAS,
        ),
    ),
    Repository(
        name="mixedbread-ai/mxbai-embed-large-v1",
        sentence=SentenceFiles(
            pooling="cls",
            normalize=False,
            versions=("2.7.0", "4.37.0", "2.1.0+cu121"),
            prompts={"query": "Represent this sentence for searching relevant passages: ", "passage": ""},
        ),
        position_ids=False,
        dtype=torch.float16,
        extras=(
            *ONNX_EXTRAS,
            "onnx/model_quantized.onnx",
            "gguf/mxbai-embed-large-v1-f16.gguf",
            *OPENVINO_EXTRAS,
        ),
    ),
    Repository(name="intfloat/e5-base", sentence=E5, formats=("safetensors", "pickle"), extras=ONNX_EXTRAS),
    Repository(name="intfloat/e5-large", sentence=E5, formats=("safetensors", "pickle")),
    Repository(
        name="intfloat/multilingual-e5-small",
        hidden=32,
        sentence=SentenceFiles(legacy_pooling=True),
        formats=("safetensors", "pickle"),
        xlm_roberta_tokenizer=True,
        extras=(*ONNX_EXTRAS, *OPENVINO_EXTRAS),
    ),
    Repository(
        name="sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
        hidden=32,
        sentence=PARAPHRASE,
        formats=("safetensors", "pickle"),
        xlm_roberta_tokenizer=True,
        extras=("rust_model.ot", "tf_model.h5", "onnx/model.onnx", *OPENVINO_EXTRAS),
    ),
    Repository(name="sentence-transformers/LaBSE", sentence=LABSE, formats=("safetensors", "pickle")),
    *(
        Repository(
            name=f"BAAI/bge-{size}-en-v1.5",
            hidden=32 if size == "small" else 48,
            sentence=BGE,
            formats=("safetensors", "pickle"),
            extras=("onnx/model.onnx",),
        )
        for size in ("small", "base", "large")
    ),
    *MS_MARCO,
)


def config(repository: Repository, vocab_size: int) -> dict[str, Any]:
    """config.json with the real keys; in ms-marco's, the activation is the identity, so that scores are raw logits."""
    settings = {
        "architectures": ["BertModel" if repository.sentence else "BertForSequenceClassification"],
        "attention_probs_dropout_prob": 0.1,
        "classifier_dropout": None,
        "gradient_checkpointing": False,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": repository.hidden,
        "initializer_range": 0.02,
        "intermediate_size": 2 * repository.hidden,
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 512,
        "model_type": "bert",
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "torch_dtype": str(repository.dtype).removeprefix("torch."),
        "transformers_version": "4.30.2",
        "type_vocab_size": 2,
        "use_cache": True,
        "vocab_size": vocab_size,
    }
    if repository.xlm_roberta_tokenizer:
        settings["tokenizer_class"] = "XLMRobertaTokenizer"
    if repository.sentence is None:
        settings["id2label"], settings["label2id"] = {"0": "LABEL_0"}, {"LABEL_0": 0}
        identity = "torch.nn.modules.linear.Identity"
        settings["sentence_transformers"] = {"activation_fn": identity, "version": "4.1.0.dev0"}
    return settings


def write_tokenizer(folder: Path, repository: Repository) -> int:
    """The repository's tokenizer; returns the size of the word table.

    multilingual-e5-small's table is 35 rows longer than its tokenizer (250037 against 250002). MiniLM's
    tokenizer.json is stored with truncation and fixed padding at 128 tokens, which a loader must override.
    """
    if repository.xlm_roberta_tokenizer:
        return tokenizer_files.write_xlm_roberta(folder, max_length=512) + 35
    size = tokenizer_files.write_bert(folder, max_length=512)
    if repository.tokenizer_truncation is not None:
        path = str(folder / "tokenizer.json")
        tokenizer = tokenizers.Tokenizer.from_file(path)
        tokenizer.enable_truncation(repository.tokenizer_truncation)
        tokenizer.enable_padding(length=repository.tokenizer_truncation)
        tokenizer.save(path)
    return size


def write(folder: Path, seed: int, *, repository: Repository) -> None:
    """Write one repository of `REPOSITORIES`."""
    random = weights.generator(repository.name, seed)
    settings = config(repository, write_tokenizer(folder, repository))
    if repository.sentence is None:
        model = weights.build_model(BertForSequenceClassification, folder, settings)
        weights.fill(model, random)
        weights.spread_logits(model, model.classifier, tokenizer_files.encode_pairs(folder))
    else:
        model = weights.build_model(BertModel, folder, settings)
        weights.fill(model, random)
        layout.write_sentence_files(folder, repository.hidden, repository.sentence)
        if repository.sentence.middle_modules:
            dense = torch.randn(repository.hidden, repository.hidden, generator=random) / repository.hidden**0.5
            bias = 0.1 * torch.randn(repository.hidden, generator=random)
            layout.write_dense(folder / "2_Dense", dense, "activation.Tanh", bias)
    prefix = "embeddings" if repository.sentence else "bert.embeddings"
    state = weights.tensors(model, repository.dtype, position_ids=prefix if repository.position_ids else None)
    if "safetensors" in repository.formats:
        weights.write_safetensors(folder, state)
    if "pickle" in repository.formats:
        weights.write_pickle(folder, state)
    layout.write_extras(folder, repository.name, repository.extras)


BUILDERS: dict[str, Callable[[Path, int], None]] = {
    repository.name: partial(write, repository=repository) for repository in REPOSITORIES
}
