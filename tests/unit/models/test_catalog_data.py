"""The shipped catalogue says what the specification promises, and what the service shows."""

from __future__ import annotations

from models.catalog import load_catalog
from models.goldens import load_goldens
from tests.tiny import jina_v3

PROMISED_RERANKERS = {
    "japanese-reranker-large": "hotchpotch/japanese-reranker-cross-encoder-large-v1",
    "japanese-reranker-base": "hotchpotch/japanese-reranker-cross-encoder-base-v1",
    "japanese-reranker-small": "hotchpotch/japanese-reranker-cross-encoder-small-v1",
    "japanese-bge-v2-m3": "hotchpotch/japanese-bge-reranker-v2-m3-v1",
    "jina-reranker-v2-multilingual": "jinaai/jina-reranker-v2-base-multilingual",
    "bge-reranker-v2-m3": "BAAI/bge-reranker-v2-m3",
    "gte-multilingual-reranker": "Alibaba-NLP/gte-multilingual-reranker-base",
    "mxbai-rerank-large": "mixedbread-ai/mxbai-rerank-large-v1",
    "cohere-rerank-multilingual": "Cohere/rerank-multilingual-v3.0",
    "jina-reranker-turbo": "jinaai/jina-reranker-v1-turbo-en",
    "bce-reranker-base_v1": "maidalun1020/bce-reranker-base_v1",
    "bge-reranker-base": "BAAI/bge-reranker-base",
    "bge-reranker-large": "BAAI/bge-reranker-large",
}
PROMISED_EMBEDDERS = {
    "ruri-large": "cl-nagoya/ruri-large",
    "ruri-base": "cl-nagoya/ruri-base",
    "japanese-simcse-large": "MU-Kindai/Japanese-SimCSE-BERT-large-unsup",
    "luke-japanese-base": "sonoisa/sentence-luke-japanese-base-lite",
    "glucose-ja-v2": "pkshatech/GLuCoSE-base-ja-v2",
    "bge-m3": "BAAI/bge-m3",
    "nv-embed-v2": "nvidia/NV-Embed-v2",
    "e5-mistral-7b": "intfloat/e5-mistral-7b-instruct",
    "mxbai-embed-large": "mixedbread-ai/mxbai-embed-large-v1",
    "multilingual-e5-large": "intfloat/multilingual-e5-large",
    "multilingual-e5-base": "intfloat/multilingual-e5-base",
    "all-mpnet-base-v2": "sentence-transformers/all-mpnet-base-v2",
    "all-minilm-l6-v2": "sentence-transformers/all-MiniLM-L6-v2",
    "e5-base": "intfloat/e5-base",
    "e5-large": "intfloat/e5-large",
}


SPECS = list(load_catalog())
BY_NAME = {spec.name: spec for spec in SPECS}


def test_promised_models_come_first_and_in_order() -> None:
    promised = PROMISED_RERANKERS | PROMISED_EMBEDDERS
    assert [(spec.name, spec.repo) for spec in SPECS[: len(promised)]] == list(promised.items())
    assert all(BY_NAME[name].kind == "reranker" for name in PROMISED_RERANKERS)
    assert all(BY_NAME[name].kind == "embedding" for name in PROMISED_EMBEDDERS)


def test_licences_that_forbid_business_use_are_flagged() -> None:
    assert {spec.name for spec in SPECS if spec.commercial is False} == {
        "jina-reranker-v2-multilingual",
        "nv-embed-v2",
        "jina-embeddings-v5-text-small-retrieval",
        "sarashina-embedding-v2-1b",
        "comsat-embed-ja-0.3b",
        "splade-v3",
        "splade-cocondenser-ensembledistil",
        *(f"jina-embeddings-v3-{task.replace('_', '-')}" for task in jina_v3.TASKS),
    }
    assert {spec.name for spec in SPECS if spec.commercial is None} == {"cohere-rerank-multilingual"}
    assert "API" in BY_NAME["cohere-rerank-multilingual"].license
    for spec in SPECS:
        non_commercial = "-NC-" in spec.license or "NonCommercial" in spec.license
        assert non_commercial == (spec.commercial is False), spec.name
        assert spec.license != "unknown", spec.name


def test_every_model_says_what_the_service_shows() -> None:
    for spec in SPECS:
        assert all((spec.languages, spec.note)), spec.name
        assert spec.max_tokens or "The token limit is read from the repository." in spec.note, spec.name
        assert spec.group != "custom", spec.name
        if spec.kind == "embedding":
            assert spec.dimensions, spec.name
            dense = "dense" in (spec.outputs or ("dense",))
            assert spec.pooling or spec.conversion == "nv_embed" or not dense, spec.name


def test_models_with_a_japanese_tokenizer_name_what_it_imports() -> None:
    for spec in SPECS:
        modules = {"bert-japanese": ("fugashi", "unidic_lite"), "xlm-roberta": ("sentencepiece",)}
        assert spec.requires == modules.get(spec.tokenizer.backend, ()), spec.name


def test_only_checked_weights_are_called_verified() -> None:
    assert {spec.name for spec in SPECS if spec.verified} <= {golden.model for golden in load_goldens()}
