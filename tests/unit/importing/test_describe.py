"""The block of a repository that no catalogue lists, read from its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from errors import ModelUnavailableError
from importing.describe import describe
from models.catalog import Catalog, ModelSpec

REPO = "acme/Tiny"
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
]
SENTENCE = "config_sentence_transformers.json"
CLASSIFIER = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "LABEL_0"}}


def described(folder: Path, card: str = "", **files: Any) -> ModelSpec:
    """The block of a repository with these files; `modules` is modules.json."""
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "README.md").write_text(card, encoding="utf-8")
    return describe(Catalog([]).get_or_unlisted(REPO), folder)


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"modules": MODULES}, "embedding"),
        ({"modules": MODULES, "config_sentence_transformers": {"model_type": "CrossEncoder"}}, "reranker"),
        ({"config": CLASSIFIER}, "reranker"),
        ({"config": {"architectures": ["BertForMaskedLM"]}}, "embedding"),
        ({"config": {"architectures": ["Qwen3ForCausalLM"]}}, "embedding"),
        ({}, "embedding"),
    ],
)
def test_the_kind(files: dict[str, Any], kind: str, tmp_path: Path) -> None:
    spec = described(tmp_path, **files)
    assert (spec.name, spec.repo, spec.kind, spec.from_repository) == ("Tiny", REPO, kind, True)


def test_a_language_model_that_ranks_is_a_reranker(tmp_path: Path) -> None:
    config = {"architectures": ["Qwen3ForCausalLM"]}
    assert described(tmp_path, "---\npipeline_tag: text-ranking\n---\n", config=config).kind == "reranker"


def test_a_language_model_is_pooled_at_its_last_token(tmp_path: Path) -> None:
    assert described(tmp_path, config={"architectures": ["Qwen3ForCausalLM"]}).pooling == "last"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"modules": MODULES, "config_sentence_transformers": {"model_type": "TimeSeries"}}, "is a TimeSeries"),
        ({"config": CLASSIFIER | {"id2label": {"0": "no", "1": "yes"}}}, "a classifier of 2 labels"),
        ({"config": {"architectures": ["BertForSequenceClassification"]}}, "a classifier of 2 labels"),
    ],
)
def test_other_kinds_are_refused(files: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match=reason):
        described(tmp_path, **files)


def test_prompts_and_normalization(tmp_path: Path) -> None:
    sentence = {"prompts": {"query": "q: ", "passage": "p: ", "document": ""}, "default_prompt_name": "query"}
    spec = described(tmp_path, modules=MODULES, config_sentence_transformers=sentence)
    assert spec.prompts == {"query": "q: ", "passage": "p: ", "document": "p: "}
    assert (spec.default_prompt, spec.normalized) == ("query", True)


def test_lower_case_and_japanese_bert(tmp_path: Path) -> None:
    assert described(tmp_path, sentence_bert_config={"do_lower_case": True}).tokenizer.lower_case
    spec = described(tmp_path, tokenizer_config={"tokenizer_class": "BertJapaneseTokenizer"})
    assert (spec.tokenizer.backend, spec.tokenizer.lower_case) == ("bert-japanese", False)
    assert spec.requires == ("fugashi", "unidic_lite")


@pytest.mark.parametrize(
    ("head", "licence", "commercial", "languages"),
    [
        ("license: apache-2.0\nlanguage: en", "apache-2.0", True, ("en",)),
        ("license: cc-by-nc-4.0\nlanguage: [ja, en]", "cc-by-nc-4.0", False, ("ja", "en")),
        ("license: other\nlicense_name: gemma", "gemma", None, ()),
        (f"language: {[f'l{number}' for number in range(20)]}", "unknown", None, ("multilingual",)),
        ("license: [mit", "unknown", None, ()),
        ("- a list", "unknown", None, ()),
    ],
)
def test_the_model_card(
    head: str, licence: str, commercial: bool | None, languages: tuple[str, ...], tmp_path: Path
) -> None:
    spec = described(tmp_path, f"---\n{head}\n---\n# Tiny\n")
    assert (spec.license, spec.commercial, spec.languages) == (licence, commercial, languages)


def test_damaged_files_leave_the_defaults(tmp_path: Path) -> None:
    (tmp_path / SENTENCE).write_text("{", encoding="utf-8")
    (tmp_path / "config.json").write_bytes(b"\xff")
    spec = described(tmp_path, "no metadata")
    assert (spec.kind, spec.prompts, spec.license) == ("embedding", {}, "unknown")
