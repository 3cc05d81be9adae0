"""The shipped data files: catalog.yaml says what SPEC.md promises, goldens.yaml can be computed."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.catalog import ModelSpec

MODELS = Path(__file__).parents[2] / "models"

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


def read(file: str) -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((MODELS / file).read_text(encoding="utf-8"))
    return data


SPECS = [ModelSpec(**block) for block in read("catalog.yaml")["models"]]
BY_NAME = {spec.name: spec for spec in SPECS}
CHECKS: list[dict[str, Any]] = read("goldens.yaml")["checks"]


def check_id(check: dict[str, Any]) -> str:
    return f"{check['model']}-{check['what']}-{len(check['expected'])}"


each_check = pytest.mark.parametrize("check", CHECKS, ids=check_id)


def test_promised_models_come_first_and_in_order() -> None:
    promised = PROMISED_RERANKERS | PROMISED_EMBEDDERS
    assert [(spec.name, spec.repo) for spec in SPECS[: len(promised)]] == list(promised.items())
    assert all(BY_NAME[name].kind == "reranker" for name in PROMISED_RERANKERS)
    assert all(BY_NAME[name].kind == "embedding" for name in PROMISED_EMBEDDERS)


def test_no_two_models_answer_to_one_name() -> None:
    counts = Counter(name.lower() for spec in SPECS for name in {n.lower() for n in spec.names})
    assert [name for name, count in counts.items() if count > 1] == []


def test_licences_that_forbid_business_use_are_flagged() -> None:
    assert {spec.name for spec in SPECS if spec.commercial is False} == {"jina-reranker-v2-multilingual", "nv-embed-v2"}
    assert {spec.name for spec in SPECS if spec.commercial is None} == {"cohere-rerank-multilingual"}
    assert "API" in BY_NAME["cohere-rerank-multilingual"].license
    for spec in SPECS:
        assert ("-NC-" in spec.license) == (spec.commercial is False), spec.name
        assert spec.license != "unknown", spec.name


def test_limits_are_the_true_ones_not_the_quoted_ones() -> None:
    limits = {name: BY_NAME[name].max_tokens for name in ("bge-reranker-v2-m3", "mxbai-rerank-large", "bge-m3")}
    assert limits == {"bge-reranker-v2-m3": 8192, "mxbai-rerank-large": 512, "bge-m3": 8192}
    assert BY_NAME["luke-japanese-base"].max_tokens == 80
    assert BY_NAME["all-mpnet-base-v2"].max_tokens == 384
    assert BY_NAME["all-minilm-l6-v2"].max_tokens == 256


def test_every_model_says_what_the_service_shows() -> None:
    for spec in SPECS:
        assert all((spec.max_tokens, spec.languages, spec.note)), spec.name
        assert spec.group != "custom", spec.name
        if spec.kind == "embedding":
            assert spec.dimensions, spec.name
            assert spec.pooling or spec.conversion == "nv_embed", spec.name


def test_models_with_a_japanese_tokenizer_name_what_it_imports() -> None:
    for spec in SPECS:
        modules = {"bert-japanese": ("fugashi", "unidic_lite"), "xlm-roberta": ("sentencepiece",)}
        assert spec.requires == modules.get(spec.tokenizer.backend, ()), spec.name


def test_only_checked_weights_are_called_verified() -> None:
    assert {spec.name for spec in SPECS if spec.verified} <= {check["model"] for check in CHECKS}


@each_check
def test_golden_names_a_model_of_the_right_kind(check: dict[str, Any]) -> None:
    kind = {"rerank_scores": "reranker", "rerank_logits": "reranker", "query_cosines": "embedding"}[check["what"]]
    assert BY_NAME[check["model"]].kind == kind


@each_check
def test_golden_has_one_number_for_each_text(check: dict[str, Any]) -> None:
    assert ("pairs" in check) != ("query" in check and "documents" in check)
    texts = check["pairs"] if "pairs" in check else check["documents"]
    assert len(texts) == len(check["expected"]) > 1
    assert all(len(pair) == 2 for pair in check.get("pairs", []))
    assert all(math.isfinite(value) for value in check["expected"])


@each_check
def test_golden_would_notice_a_wrong_answer(check: dict[str, Any]) -> None:
    """The numbers lie further apart than the tolerance, so that constant or shuffled output fails."""
    assert 0 < check["tolerance"] <= (max(check["expected"]) - min(check["expected"])) / 5
    assert check["source"]


@each_check
def test_golden_of_an_embedder_says_its_prompts(check: dict[str, Any]) -> None:
    assert ("query_prompt" in check) == ("document_prompt" in check) == (check["what"] == "query_cosines")


def test_golden_catches_lost_segment_ids() -> None:
    """transformers 5 without token_type_ids scores Mars .19531 (MODELS.md 2.1)."""
    check = next(c for c in CHECKS if c["model"] == "japanese-reranker-large")
    assert abs(check["expected"][1] - 0.19531) > 10 * check["tolerance"]
