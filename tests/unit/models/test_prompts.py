"""Which prompt stands before a text, by whichever way it was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from errors import InvalidRequestError
from models.catalog import ModelSpec, load_catalog
from models.prompts import SIDES, choose_prompt, refuse_instruction
from tests.unit.fakes import spec

CATALOG = load_catalog()
ASYMMETRIC = spec(prompts={"query": "query: ", "document": "passage: ", "clustering": "same? "})
INSTRUCTED = spec(prompts={"query": "Instruct: {instruction}\nQuery: "}, instruction="find it")
SEARCH = "Given a web search query, retrieve relevant passages that answer the query"


@pytest.mark.parametrize(
    ("wanted", "asked", "prompt"),
    [
        (ASYMMETRIC, {}, ""),
        (ASYMMETRIC, {"input_type": "query"}, "query: "),
        (ASYMMETRIC, {"input_type": "search_query"}, "query: "),
        (ASYMMETRIC, {"input_type": "document"}, "passage: "),
        (ASYMMETRIC, {"input_type": "search_document"}, "passage: "),
        (ASYMMETRIC, {"input_type": "passage"}, "passage: "),
        (ASYMMETRIC, {"input_type": "clustering", "suffix": "query"}, "same? "),
        (ASYMMETRIC, {"input_type": "classification", "suffix": "query"}, ""),
        (ASYMMETRIC, {"suffix": "document"}, "passage: "),
        (ASYMMETRIC, {"suffix": "document", "input_type": "query"}, "query: "),
        (ASYMMETRIC, {"prompt_name": "clustering"}, "same? "),
        (ASYMMETRIC, {"prompt_name": "clustering", "input_type": "query", "suffix": "query"}, "same? "),
        (INSTRUCTED, {"input_type": "query"}, "Instruct: find it\nQuery: "),
        (INSTRUCTED, {"input_type": "query", "instruction": ""}, "Instruct: find it\nQuery: "),
        (INSTRUCTED, {"input_type": "query", "instruction": "be {quick}"}, "Instruct: be {quick}\nQuery: "),
        (INSTRUCTED, {"prompt_name": "query", "instruction": "be quick"}, "Instruct: be quick\nQuery: "),
        (INSTRUCTED, {"instruction": "be quick"}, "Instruct: be quick\nQuery: "),
        (INSTRUCTED, {"input_type": "document"}, ""),
        (spec(), {"input_type": "query"}, ""),
        (spec(), {"suffix": "document"}, ""),
    ],
)
def test_a_prompt_is_chosen(wanted: ModelSpec, asked: dict[str, Any], prompt: str) -> None:
    assert choose_prompt(wanted, **asked) == prompt


@pytest.mark.parametrize(
    ("wanted", "asked", "param", "message"),
    [
        (ASYMMETRIC, {"input_type": "sideways"}, "input_type", "query, search_query, document"),
        (ASYMMETRIC, {"input_type": ""}, "input_type", "query, search_query, document"),
        (ASYMMETRIC, {"prompt_name": "absent"}, "prompt_name", r"Its prompts: query, document, clustering\."),
        (spec(), {"prompt_name": "query"}, "prompt_name", r"Its prompts: none\."),
        (ASYMMETRIC, {"input_type": "query", "instruction": "be quick"}, "instruction", "does not accept an"),
        (ASYMMETRIC, {"instruction": "be quick"}, "instruction", "does not accept an instruction here"),
        (INSTRUCTED, {"input_type": "document", "instruction": "be quick"}, "instruction", "does not accept an"),
    ],
)
def test_what_is_not_known_is_answered_with_what_is(
    wanted: ModelSpec, asked: dict[str, Any], param: str, message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message) as raised:
        choose_prompt(wanted, **asked)
    assert raised.value.param == param
    assert "sideways" not in raised.value.message
    assert "be quick" not in raised.value.message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ruri-large:query", "クエリ: "),
        ("ruri-large:document", "文章: "),
        ("glucose-ja-v2:document", "passage: "),
        ("multilingual-e5-base:query", "query: "),
        ("mxbai-embed-large:query", "Represent this sentence for searching relevant passages: "),
        ("mxbai-embed-large:document", ""),
        ("e5-mistral-7b:query", f"Instruct: {SEARCH}\nQuery: "),
        ("nv-embed-v2:query", f"Instruct: {SEARCH}\nQuery: "),
        ("qwen3-embedding-0.6b:query", f"Instruct: {SEARCH}\nQuery:"),
        ("all-minilm-l6-v2:query", ""),
    ],
)
def test_prompts_of_the_shipped_catalogue(name: str, expected: str) -> None:
    found, suffix = CATALOG.resolve(name)
    assert choose_prompt(found, suffix=suffix) == expected


@pytest.mark.parametrize("found", [found for found in CATALOG if found.prompts], ids=lambda found: found.name)
@pytest.mark.parametrize("input_type", list(SIDES))
def test_every_input_type_is_taken_by_every_model(found: ModelSpec, input_type: str) -> None:
    expected = found.prompts.get(SIDES[input_type] or input_type, "")
    assert choose_prompt(found, input_type=input_type) == expected.replace("{instruction}", found.instruction or "")


def test_only_rerankers_that_are_asked_in_words_take_an_instruction() -> None:
    with pytest.raises(InvalidRequestError):
        refuse_instruction(spec(kind="reranker"))
    scoring = {"prefix": "", "body": "{instruction}{query}{document}", "suffix": "", "yes": "yes", "no": "no"}
    refuse_instruction(spec(kind="reranker", scoring=scoring))
    with pytest.raises(InvalidRequestError):
        refuse_instruction(spec(kind="reranker", scoring=scoring | {"body": "{query}{document}"}))
    refuse_instruction(CATALOG.get("mxbai-rerank-base-v2"))


def test_a_default_prompt_is_for_requests_that_choose_none() -> None:
    model = spec(prompts={"query": "q: ", "document": "d: "}, default_prompt="query")
    assert choose_prompt(model) == "q: "
    assert choose_prompt(model, input_type="document") == "d: "
    assert choose_prompt(model, input_type="classification") == ""
    assert choose_prompt(model, suffix="document") == "d: "


def test_a_prompt_has_its_side() -> None:
    """Also an empty one: some models have a network for each side."""
    assert [choose_prompt(spec(), input_type=each).side for each in ("query", "passage", "clustering")] == [
        "query",
        "document",
        None,
    ]
    assert choose_prompt(spec(), suffix="query").side == "query"
