"""One repository for each kind of module beyond pooling and plain layers, saved by sentence-transformers.

    from tests.tiny import sentence_modules
    folder = sentence_modules.build("Router", tmp_path / "router")

The transformer in them is the tiny MiniLM, or the tiny Qwen3 reranker.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import (
    CNN,
    LSTM,
    BoW,
    LayerNorm,
    Pooling,
    StaticEmbedding,
    WeightedLayerPooling,
    WordEmbeddings,
)
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from tokenizers import Tokenizer

from tests.tiny import build as build_original
from tests.tiny import corpus

MINILM, QWEN3 = "sentence-transformers/all-MiniLM-L6-v2", "Qwen/Qwen3-Reranker-0.6B"
HIDDEN = 32
CARD = "---\nlicense: apache-2.0\nlanguage: [en, ja]\n---\n# A tiny model\n"
CHAT_TEMPLATE = (
    "<|im_start|>user\n"
    "<Query>: {{ messages | selectattr('role', 'eq', 'query') | map(attribute='content') | first }}\n"
    "<Document>: {{ messages | selectattr('role', 'eq', 'document') | map(attribute='content') | first }}<|im_end|>\n"
    "<|im_start|>assistant\n"
)
PROMPTS = {"query": "query: ", "document": "passage: "}


def _transformer(**options: Any) -> Transformer:
    with TemporaryDirectory() as work:
        return Transformer(str(build_original(MINILM, Path(work))), max_seq_length=64, **options)


def _tokenizer() -> Tokenizer:
    with TemporaryDirectory() as work:
        return Tokenizer.from_file(str(build_original(MINILM, Path(work)) / "tokenizer.json"))


def _static() -> StaticEmbedding:
    tokenizer = _tokenizer()
    tokenizer.no_truncation()
    return StaticEmbedding(tokenizer, embedding_weights=torch.randn(tokenizer.get_vocab_size(), HIDDEN))


def _vocabulary() -> list[str]:
    return sorted({word for line in corpus.ENGLISH for word in line.lower().split()})


def _words() -> WordEmbeddings:
    vocabulary = ["PADDING_TOKEN", *_vocabulary()]
    tokenizer = WhitespaceTokenizer(vocabulary, stop_words=["the"], do_lower_case=True)
    vectors = torch.randn(len(vocabulary), HIDDEN)
    vectors[0] = 0  # as the library makes the padding token
    return WordEmbeddings(tokenizer, vectors)


def _layer_norm() -> SentenceTransformer:
    norm = LayerNorm(HIDDEN)
    torch.nn.init.normal_(norm.norm.weight, 1, 0.3)
    return SentenceTransformer(modules=[_transformer(), Pooling(HIDDEN, "cls"), norm], prompts=PROMPTS)


def _weighted_layers() -> SentenceTransformer:
    transformer = _transformer(config_kwargs={"output_hidden_states": True})
    layers = WeightedLayerPooling(HIDDEN, num_hidden_layers=2, layer_start=0)
    torch.nn.init.uniform_(layers.layer_weights, 0.2, 1)
    return SentenceTransformer(modules=[transformer, layers, Pooling(HIDDEN), Normalize()])


def _router() -> SentenceTransformer:
    routes = [_static()], [_transformer(), Pooling(HIDDEN)]
    router = Router.for_query_document(*routes, default_route=None, allow_empty_key=False)
    return SentenceTransformer(modules=[router, Normalize()])


def _bag_of_words() -> SentenceTransformer:
    words = _vocabulary()
    return SentenceTransformer(modules=[BoW(words, {words[7]: 3.0}), Dense(len(words), 24)])


def _modular_reranker() -> CrossEncoder:
    head = [
        Pooling(HIDDEN, "cls"),
        Dense(HIDDEN, HIDDEN, bias=False, activation_function=torch.nn.GELU()),
        LayerNorm(HIDDEN),
        Dense(HIDDEN, 1, activation_function=None, module_output_name="scores"),
    ]
    return CrossEncoder(modules=[_transformer(), *head], activation_fn=torch.nn.Identity())


def _logit_score() -> CrossEncoder:
    with TemporaryDirectory() as work:
        folder = build_original(QWEN3, Path(work))
        template = {"chat_template": CHAT_TEMPLATE}
        return CrossEncoder(str(folder), model_kwargs={"dtype": torch.float32}, processor_kwargs=template)


KINDS: dict[str, Callable[[], SentenceTransformer | CrossEncoder]] = {
    "LayerNorm": _layer_norm,
    "WeightedLayerPooling": _weighted_layers,
    "SiLU": lambda: SentenceTransformer(
        modules=[_transformer(), Pooling(HIDDEN), Dense(HIDDEN, 16, activation_function=torch.nn.SiLU())]
    ),
    "Residual": lambda: SentenceTransformer(
        modules=[_transformer(), Pooling(HIDDEN), Dense(HIDDEN, 16, use_residual=True)]
    ),
    "MaxPooling": lambda: SentenceTransformer(modules=[_transformer(), Pooling(HIDDEN, ("max", "mean"))]),
    "MaskedPrompt": lambda: SentenceTransformer(
        modules=[_transformer(), Pooling(HIDDEN, include_prompt=False)], prompts=PROMPTS, default_prompt_name="query"
    ),
    "StaticEmbedding": lambda: SentenceTransformer(modules=[_static()]),
    "LSTM": lambda: SentenceTransformer(modules=[_words(), LSTM(HIDDEN, 12), Pooling(24)]),
    "CNN": lambda: SentenceTransformer(modules=[_words(), CNN(HIDDEN, 8, [1, 3]), Pooling(16, "max")]),
    "BoW": _bag_of_words,
    "Router": _router,
    "ModularReranker": _modular_reranker,
    "LogitScore": _logit_score,
}
"""Name -> the model."""


def build(kind: str, folder: Path) -> Path:
    """Write the repository of one kind; return the folder."""
    torch.manual_seed(sorted(KINDS).index(kind))
    KINDS[kind]().save(str(folder), create_model_card=False)
    (folder / "README.md").write_text(CARD, encoding="utf-8")
    return folder
