"""ModernBERT: ruri-v3 and the Japanese v2 rerankers (sentencepiece), gte and granite (BPE of two kinds), bekko (Gemma's
pieces) and the ettin rerankers, whose head is a list of sentence-transformers modules.

Layer 0 has full attention, layer 1 a window of 128: the difference shows in texts of more than 64 tokens.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tokenizers
import torch
from transformers import ModernBertForSequenceClassification, ModernBertModel

from . import layout, tokenizer_files, vocab, weights
from .layout import ONNX_EXTRAS, OPENVINO_EXTRAS, SentenceFiles

JAPANESE_IDS = {"bos": 1, "cls": 6, "eos": 2, "pad": 3, "sep": 4}
GEMMA_IDS = {"bos": 2, "cls": 2, "eos": 1, "pad": 0, "sep": 1}
FRAME_TOKENS = (
    "|||IP_ADDRESS|||",
    "<|padding|>",
    "<|endoftext|>",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[PAD]",
    "[MASK]",
)
"""Special tokens of ModernBERT-base; their ids are after the pieces."""
RURI = SentenceFiles(normalize=False, max_seq_length=8192, versions=("3.4.1", "4.48.3", "2.5.1+cu124"), prompts={})


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The differences of one repository; `tokenizer` is japanese, english or gemma, `modular` a head of modules."""

    name: str
    tokenizer: str = "japanese"
    hidden: int = 32
    limit: int = 8192
    sentence: SentenceFiles | None = None
    dtype: torch.dtype = torch.float32
    activation: str = "gelu"
    classifier_pooling: str = "cls"
    modular: bool = False
    extras: tuple[str, ...] = ()


def _gte(pooling: str = "cls") -> SentenceFiles:
    versions = ("3.3.1", "4.48.0", "2.5.1+cu124")
    return SentenceFiles(
        pooling=pooling,
        normalize=False,
        max_seq_length=8192,
        versions=versions,
        prompts={},
        similarity="cosine",
    )


def _granite(limit: int) -> SentenceFiles:
    versions = ("5.0.0", "4.53.2", "2.7.1+cu126")
    return SentenceFiles(pooling="cls", max_seq_length=limit, versions=versions, prompts={}, similarity="cosine")


ONNX_INT8 = ("onnx/model.onnx", "onnx/model_qint8_avx2.onnx", "onnx/model_qint8_arm64.onnx")
REPOSITORIES = (
    *(
        Repository(name=f"cl-nagoya/ruri-v3-{size}", hidden=hidden, sentence=RURI)
        for size, hidden in (("30m", 32), ("70m", 32), ("130m", 48), ("310m", 64))
    ),
    Repository(name="cl-nagoya/ruri-v3-reranker-310m", hidden=64),
    *(
        Repository(
            name=f"hotchpotch/japanese-reranker-{size}-v2",
            hidden=hidden,
            extras=(*ONNX_INT8, *OPENVINO_EXTRAS),
        )
        for size, hidden in (("tiny", 32), ("xsmall", 32), ("small", 48), ("base", 64))
    ),
    Repository(
        name="Alibaba-NLP/gte-modernbert-base",
        tokenizer="english",
        hidden=48,
        sentence=_gte(),
        dtype=torch.float16,
        classifier_pooling="mean",
        extras=ONNX_EXTRAS,
    ),
    Repository(
        name="Alibaba-NLP/gte-reranker-modernbert-base",
        tokenizer="english",
        hidden=48,
        dtype=torch.float16,
        classifier_pooling="mean",
        extras=ONNX_EXTRAS,
    ),
    Repository(
        name="ibm-granite/granite-embedding-english-r2",
        tokenizer="english",
        hidden=48,
        sentence=_granite(8192),
        dtype=torch.bfloat16,
        extras=(*ONNX_INT8, *OPENVINO_EXTRAS),
    ),
    Repository(
        name="ibm-granite/granite-embedding-311m-multilingual-r2",
        tokenizer="gemma",
        hidden=48,
        limit=32768,
        sentence=_granite(32768),
        dtype=torch.bfloat16,
        extras=(*ONNX_INT8, *OPENVINO_EXTRAS),
    ),
    Repository(
        name="ibm-granite/granite-embedding-97m-multilingual-r2",
        tokenizer="english",
        limit=32768,
        sentence=_granite(32768),
        dtype=torch.bfloat16,
        activation="silu",
        extras=(*ONNX_INT8, *OPENVINO_EXTRAS),
    ),
    Repository(
        name="hotchpotch/bekko-embedding-v1-a8m",
        tokenizer="gemma",
        sentence=SentenceFiles(
            max_seq_length=8192,
            versions=("5.4.0", "5.5.0", "2.9.0+cu128"),
            prompts={"query": "query: ", "document": "passage: "},
            similarity="cosine",
        ),
        dtype=torch.bfloat16,
        extras=(*ONNX_INT8, *OPENVINO_EXTRAS),
    ),
    Repository(name="cross-encoder/ettin-reranker-17m-v1", tokenizer="english", limit=7999, modular=True),
)
CLASSES = "sentence_transformers."
MODULES = (
    ("", f"{CLASSES}base.modules.transformer.Transformer"),
    ("1_Pooling", f"{CLASSES}sentence_transformer.modules.pooling.Pooling"),
    ("2_Dense", f"{CLASSES}base.modules.dense.Dense"),
    ("3_LayerNorm", f"{CLASSES}sentence_transformer.modules.layer_norm.LayerNorm"),
    ("4_Dense", f"{CLASSES}base.modules.dense.Dense"),
)
"""The modules of an ettin reranker: folder and class."""


def write_japanese_tokenizer(folder: Path, limit: int) -> tuple[int, dict[str, int]]:
    """tokenizer.model and the fast files, declared as LlamaTokenizer; returns (table size, special ids)."""
    tokenizer = vocab.llama_unigram()
    (folder / "tokenizer.model").write_bytes(vocab.llama_unigram_pieces().model)
    names = {"bos_token": "<s>", "cls_token": "<cls>", "eos_token": "</s>", "mask_token": "<mask>"}
    names |= {"pad_token": "<pad>", "sep_token": "<sep>", "unk_token": "<unk>"}
    config = names | {
        "add_bos_token": True,
        "add_eos_token": True,
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "legacy": False,
        "model_max_length": limit,
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
    }
    special = {key: tokenizer_files.added_token(token) for key, token in names.items()}
    tokenizer_files.write_tokenizer(folder, tokenizer, config=config, special=special)
    return tokenizer.get_vocab_size(), JAPANESE_IDS


def write_english_tokenizer(folder: Path, limit: int) -> tuple[int, dict[str, int]]:
    """ModernBERT-base's fast files; the table is padded to a multiple of 64 (original: 50368 for 50285 tokens)."""
    tokenizer = vocab.byte_level_bpe(900, split=None, special=FRAME_TOKENS[:-1])
    tokenizer.add_special_tokens([tokenizers.AddedToken("[MASK]", lstrip=True, normalized=False)])
    ids = {token: index for token, index in tokenizer.get_vocab().items() if token in FRAME_TOKENS}
    tokenizer.post_processor = vocab.template("[CLS]", "[SEP]", ids, "[CLS] $A [SEP] $B:1 [SEP]:1")
    config = tokenizer_files.BERT_TOKENS | {
        "clean_up_tokenization_spaces": True,
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": limit,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    special = {key: tokenizer_files.added_token(token) for key, token in tokenizer_files.BERT_TOKENS.items()}
    tokenizer_files.write_tokenizer(folder, tokenizer, config=config, special=special)
    cls, sep = ids["[CLS]"], ids["[SEP]"]
    size = -(-tokenizer.get_vocab_size() // 64) * 64
    return size, {"bos": cls, "cls": cls, "eos": sep, "pad": ids["[PAD]"], "sep": sep}


def write_gemma_tokenizer(folder: Path, limit: int) -> tuple[int, dict[str, int]]:
    """Gemma's pieces with ModernBERT's template: `<bos>` first, `<eos>` last."""
    tokenizer = vocab.gemma()
    names = {"bos_token": "<bos>", "cls_token": "<bos>", "eos_token": "<eos>", "mask_token": "<mask>"}
    names |= {"pad_token": "<pad>", "sep_token": "<eos>", "unk_token": "<unk>"}
    config = names | {
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": limit,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    tokenizer_files.write_tokenizer(folder, tokenizer, config=config, special=names)
    return tokenizer.get_vocab_size(), GEMMA_IDS


TOKENIZERS = {
    "japanese": write_japanese_tokenizer,
    "english": write_english_tokenizer,
    "gemma": write_gemma_tokenizer,
}


def config(repository: Repository, vocab_size: int, ids: dict[str, int]) -> dict[str, Any]:
    """config.json of transformers 4.48, with the old names of rope bases and layer pattern."""
    reranker = repository.sentence is None and not repository.modular
    head = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}} if reranker else {}
    special = {f"{kind}_token_id": index for kind, index in ids.items()}
    return (
        head
        | special
        | {
            "architectures": ["ModernBertForSequenceClassification" if reranker else "ModernBertModel"],
            "attention_bias": False,
            "attention_dropout": 0.0,
            "classifier_activation": "gelu",
            "classifier_bias": False,
            "classifier_dropout": 0.0,
            "classifier_pooling": repository.classifier_pooling,
            "decoder_bias": True,
            "deterministic_flash_attn": False,
            "embedding_dropout": 0.0,
            "global_attn_every_n_layers": 3,
            "global_rope_theta": 160000.0,
            "gradient_checkpointing": False,
            "hidden_activation": repository.activation,
            "hidden_size": repository.hidden,
            "initializer_cutoff_factor": 2.0,
            "initializer_range": 0.02,
            "intermediate_size": 2 * repository.hidden,
            "layer_norm_eps": 1e-05,
            "local_attention": 128,
            "local_rope_theta": 10000.0,
            "max_position_embeddings": repository.limit,
            "mlp_bias": False,
            "mlp_dropout": 0.0,
            "model_type": "modernbert",
            "norm_bias": False,
            "norm_eps": 1e-05,
            "num_attention_heads": 4,
            "num_hidden_layers": 2,
            "position_embedding_type": "absolute",
            "reference_compile": False,
            "sparse_pred_ignore_index": -100,
            "sparse_prediction": False,
            "torch_dtype": str(repository.dtype).removeprefix("torch."),
            "transformers_version": "4.48.3",
            "vocab_size": vocab_size,
        }
    )


def write(folder: Path, seed: int, *, repository: Repository) -> None:
    """Write one repository of `REPOSITORIES`."""
    random = weights.generator(repository.name, seed)
    vocab_size, ids = TOKENIZERS[repository.tokenizer](folder, repository.limit)
    settings = config(repository, vocab_size, ids)
    if repository.modular:
        model = weights.build_model(
            ModernBertModel, folder, settings | {"max_position_embeddings": repository.limit + 1}
        )
        weights.fill(model, random)
        write_modules(folder, model, repository.hidden, random)
    elif repository.sentence is None:
        model = weights.build_model(ModernBertForSequenceClassification, folder, settings)
        weights.fill(model, random)
        weights.spread_logits(model, model.classifier, tokenizer_files.encode_pairs(folder))
    else:
        model = weights.build_model(ModernBertModel, folder, settings)
        weights.fill(model, random)
        layout.write_sentence_files(folder, repository.hidden, repository.sentence)
    weights.write_safetensors(folder, weights.tensors(model, repository.dtype))
    layout.write_extras(folder, repository.name, repository.extras)


@torch.no_grad()
def write_modules(folder: Path, model: torch.nn.Module, hidden: int, random: torch.Generator) -> None:
    """CLS pooling, Dense (H, H) with GELU and without bias, LayerNorm, Dense (1, H): scores of about 3 to 12."""
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": kind} for index, (path, kind) in enumerate(MODULES)
    ]
    layout.write_json(folder / "modules.json", modules)
    identity = "torch.nn.modules.linear.Identity"
    about = {"__version__": {"sentence_transformers": "5.5.0"}, "activation_fn": identity, "model_type": "CrossEncoder"}
    layout.write_json(
        folder / "config_sentence_transformers.json", about | {"prompts": {}, "default_prompt_name": None}
    )
    layout.write_json(folder / "sentence_bert_config.json", {"transformer_task": "feature-extraction"})
    pooling = {"word_embedding_dimension": hidden, "pooling_mode": "cls", "include_prompt": True}
    layout.write_json(folder / "1_Pooling" / "config.json", pooling)
    dense = torch.randn(hidden, hidden, generator=random) / hidden**0.5
    norm = torch.nn.LayerNorm(hidden)
    for parameter in norm.parameters():
        parameter.add_(0.1 * torch.randn(hidden, generator=random))
    last = torch.randn(1, hidden, generator=random)
    pairs = tokenizer_files.encode_pairs(folder)
    rows = torch.cat([model(input_ids=torch.tensor([pair.input_ids])).last_hidden_state[:, 0] for pair in pairs])
    logits = norm(torch.nn.functional.gelu(rows @ dense.T)) @ last.T
    last *= weights.LOGIT_STD / logits.std()
    bias = torch.tensor([7.0]) - logits.mean() * weights.LOGIT_STD / logits.std()
    layout.write_dense(folder / "2_Dense", dense, "activation.GELU")
    weights.write_safetensors(
        folder / "3_LayerNorm", {f"norm.{name}": part for name, part in norm.state_dict().items()}
    )
    layout.write_json(folder / "3_LayerNorm" / "config.json", {"dimension": hidden})
    layout.write_dense(folder / "4_Dense", last, "linear.Identity", bias)
    path = folder / "4_Dense" / "config.json"
    layout.write_json(path, json.loads(path.read_text(encoding="utf-8")) | {"module_output_name": "scores"})


BUILDERS: dict[str, Callable[[Path, int], None]] = {
    repository.name: partial(write, repository=repository) for repository in REPOSITORIES
}
