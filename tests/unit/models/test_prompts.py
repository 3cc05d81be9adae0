"""Which prompt stands before a text, by whichever way it was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from errors import InvalidRequestError
from models.prompts import choose_prompt, refuse_instruction
from tests.unit.fakes import spec

ASYMMETRIC = spec(prompts={"query": "query: ", "document": "passage: ", "sts": "same? "})
INSTRUCTED = spec(prompts={"query": "Instruct: {instruction}\nQuery: "}, instruction="find it")


@pytest.mark.parametrize(
    ("asked", "prompt"),
    [
        ({}, ""),
        ({"input_type": "query"}, "query: "),
        ({"input_type": "search_query"}, "query: "),
        ({"input_type": "document"}, "passage: "),
        ({"input_type": "search_document"}, "passage: "),
        ({"input_type": "passage"}, "passage: "),
        ({"input_type": "clustering"}, ""),
        ({"suffix": "document"}, "passage: "),
        ({"suffix": "document", "input_type": "query"}, "query: "),
        ({"prompt_name": "sts"}, "same? "),
        ({"prompt_name": "sts", "input_type": "query", "suffix": "query"}, "same? "),
    ],
)
def test_a_prompt_is_chosen(asked: dict[str, Any], prompt: str) -> None:
    assert choose_prompt(ASYMMETRIC, **asked) == prompt


@pytest.mark.parametrize(
    ("asked", "prompt"),
    [
        ({"input_type": "query"}, "Instruct: find it\nQuery: "),
        ({"input_type": "query", "instruction": "be {quick}"}, "Instruct: be {quick}\nQuery: "),
        ({"instruction": "be quick"}, "Instruct: be quick\nQuery: "),
        ({"input_type": "document"}, ""),
    ],
)
def test_an_instruction_is_filled_in(asked: dict[str, Any], prompt: str) -> None:
    assert choose_prompt(INSTRUCTED, **asked) == prompt


def test_a_model_without_prompts_takes_texts_as_they_are() -> None:
    assert choose_prompt(spec(), input_type="query") == choose_prompt(spec(), suffix="document") == ""


@pytest.mark.parametrize(
    ("wanted", "asked", "param"),
    [
        (ASYMMETRIC, {"input_type": "sideways"}, "input_type"),
        (ASYMMETRIC, {"prompt_name": "absent"}, "prompt_name"),
        (ASYMMETRIC, {"input_type": "query", "instruction": "be quick"}, "instruction"),
        (INSTRUCTED, {"input_type": "document", "instruction": "be quick"}, "instruction"),
    ],
)
def test_what_is_not_known_is_named(wanted: Any, asked: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        choose_prompt(wanted, **asked)
    assert raised.value.param == param
    assert not [text for text in asked.values() if text in raised.value.message and len(text) > 8]


def test_only_rerankers_that_are_asked_in_words_take_an_instruction() -> None:
    with pytest.raises(InvalidRequestError):
        refuse_instruction(spec(kind="reranker"))
    scoring = {"prefix": "", "body": "{instruction}{query}{document}", "suffix": "", "yes": "yes", "no": "no"}
    refuse_instruction(spec(kind="reranker", scoring=scoring))
