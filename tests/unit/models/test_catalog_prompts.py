"""The prompts of the shipped catalogue, by every way that a request has to ask for them."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from errors import InvalidRequestError, ModelNotFoundError
from models.catalog import ModelSpec, load_catalog
from models.prompts import SIDES, choose_prompt, refuse_instruction
from tests.unit.fakes import spec

CATALOG = load_catalog()
MODELS = list(CATALOG)
WITH_PROMPTS = [found for found in MODELS if found.prompts]
INSTRUCTED = ["nv-embed-v2", "e5-mistral-7b", "qwen3-embedding-0.6b"]
SEARCH = "Given a web search query, retrieve relevant passages that answer the query"


def prompt(name: str, **asked: Any) -> str:
    """What a request for this model name gets put before its texts."""
    found, suffix = CATALOG.resolve(name)
    return choose_prompt(found, suffix=suffix, **asked)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ruri-large", ""),
        ("ruri-large:query", "クエリ: "),
        ("ruri-large:document", "文章: "),
        ("RURI-LARGE:QUERY", "クエリ: "),
        ("cl-nagoya/ruri-large:DOCUMENT", "文章: "),
        ("glucose-ja-v2:document", "passage: "),
        ("multilingual-e5-base:query", "query: "),
        ("mxbai-embed-large:query", "Represent this sentence for searching relevant passages: "),
        ("mxbai-embed-large:document", ""),
        ("e5-mistral-7b:query", f"Instruct: {SEARCH}\nQuery: "),
        ("nvidia/NV-Embed-v2:query", f"Instruct: {SEARCH}\nQuery: "),
        ("qwen3-embedding-0.6b:query", f"Instruct: {SEARCH}\nQuery:"),
        ("all-minilm-l6-v2:query", ""),
    ],
)
def test_the_suffix_of_the_name_asks_for_a_side(name: str, expected: str) -> None:
    assert prompt(name) == expected


@pytest.mark.parametrize("name", ["ruri-large:queries", "ruri-large:passage", "ruri-large:", ":document", "a:b:query"])
def test_another_suffix_is_an_unknown_model(name: str) -> None:
    with pytest.raises(ModelNotFoundError) as raised:
        prompt(name)
    assert (raised.value.status, raised.value.param) == (404, "model")


@pytest.mark.parametrize("found", WITH_PROMPTS, ids=lambda found: found.name)
def test_input_type_and_suffix_and_name_agree(found: ModelSpec) -> None:
    for side in ("query", "document"):
        by_suffix = prompt(f"{found.name}:{side}")
        assert by_suffix == prompt(found.name, input_type=side)
        if side in found.prompts:
            assert by_suffix == prompt(found.name, prompt_name=side)
            assert "{" not in by_suffix


@pytest.mark.parametrize("found", MODELS, ids=lambda found: found.name)
def test_nothing_asked_for_is_nothing_added(found: ModelSpec) -> None:
    assert choose_prompt(found) == ""


@pytest.mark.parametrize("found", WITH_PROMPTS, ids=lambda found: found.name)
@pytest.mark.parametrize("input_type", list(SIDES))
def test_every_input_type_is_taken_by_every_model(found: ModelSpec, input_type: str) -> None:
    expected = found.prompts.get(SIDES[input_type] or input_type, "")
    assert choose_prompt(found, input_type=input_type) == expected.replace("{instruction}", found.instruction or "")


def test_a_prompt_of_the_models_own_answers_input_type() -> None:
    found = spec(prompts={"query": "q: ", "clustering": "c: "})
    assert choose_prompt(found, input_type="clustering", suffix="query") == "c: "
    assert choose_prompt(found, input_type="classification", suffix="query") == ""


@pytest.mark.parametrize("name", INSTRUCTED)
def test_an_instruction_fills_the_template(name: str) -> None:
    start = "Instruct: Find the cat\nQuery:"
    for asked in ({}, {"input_type": "query"}, {"prompt_name": "query"}):
        assert prompt(name, instruction="Find the cat", **asked).rstrip() == start
    assert prompt(f"{name}:query", instruction="Find the cat").rstrip() == start
    assert prompt(name, input_type="query", instruction="").rstrip() == f"Instruct: {SEARCH}\nQuery:"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("e5-mistral-7b:document", {}),
        ("e5-mistral-7b", {"input_type": "passage"}),
        ("e5-mistral-7b:query", {"input_type": "document"}),
        ("e5-mistral-7b", {"prompt_name": "sts_query"}),
        ("ruri-large:query", {}),
        ("ruri-large", {}),
        ("all-minilm-l6-v2", {"input_type": "query"}),
    ],
)
def test_an_instruction_without_a_place_is_refused(name: str, asked: dict[str, str]) -> None:
    with pytest.raises(InvalidRequestError, match="does not accept an instruction here") as raised:
        prompt(name, instruction="Find the cat", **asked)
    assert raised.value.param == "instruction"
    assert "Find the cat" not in raised.value.message


def test_an_unknown_prompt_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidRequestError, match=r"Its prompts: query, document\.") as raised:
        prompt("ruri-large", prompt_name="queri")
    assert raised.value.param == "prompt_name"
    with pytest.raises(InvalidRequestError, match=r"Its prompts: none\."):
        prompt("all-minilm-l6-v2", prompt_name="query")


@pytest.mark.parametrize("input_type", ["", "Query", "image", "{instruction}"])
def test_an_unknown_input_type_is_answered_with_those_there_are(input_type: str) -> None:
    with pytest.raises(InvalidRequestError, match="query, search_query, document") as raised:
        prompt("ruri-large", input_type=input_type)
    assert raised.value.param == "input_type"


def test_prompt_name_wins_even_where_the_rest_is_wrong() -> None:
    assert prompt("ruri-large:document", prompt_name="query", input_type="document") == "クエリ: "


@pytest.mark.parametrize("found", MODELS, ids=lambda found: found.name)
def test_of_all_models_only_qwen3s_reranker_is_asked_in_words(found: ModelSpec) -> None:
    refused = contextlib.nullcontext() if found.name == "qwen3-reranker-0.6b" else pytest.raises(InvalidRequestError)
    with refused:
        refuse_instruction(found)
