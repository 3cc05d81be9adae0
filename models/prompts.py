"""Choose the prompt before an input: asymmetric models were trained with a prefix on one side or both.

OpenAI's API has no field for it. A request may use `input_type`, `prompt_name`, or a suffix of the model's name
(`ruri-large:query`). Without any of these, texts are embedded without a prompt.
"""

from __future__ import annotations

from typing import Literal

from errors import InvalidRequestError
from models.catalog import ModelSpec

Side = Literal["query", "document"]

SIDES: dict[str, Side | None] = {
    "query": "query",
    "search_query": "query",
    "document": "document",
    "search_document": "document",
    "passage": "document",
    "classification": None,
    "clustering": None,
    "retrieval.query": "query",
    "retrieval.passage": "document",
    "code.query": "query",
    "code.passage": "document",
    "text-matching": None,
    "separation": None,
}
"""input_type of Cohere, Voyage, NIM and Jina -> side of a search; None: neither."""

_ENDINGS: dict[str, Side] = {".query": "query", ".passage": "document"}
"""Jina's tasks for one kind of model, such as nl2code.query."""

PLACEHOLDER = "{instruction}"


def choose_prompt(
    spec: ModelSpec,
    *,
    input_type: str | None = None,
    prompt_name: str | None = None,
    instruction: str | None = None,
    suffix: Side | None = None,
) -> str:
    """The text to put before each input; may be empty.

    `prompt_name` takes precedence over `input_type`, which takes precedence over the suffix of the model's name. A
    model may have no prompt for a side. Raises InvalidRequestError for an unknown prompt or input type.
    """
    if prompt_name is not None:
        if prompt_name not in spec.prompts:
            names = ", ".join(spec.prompts) or "none"
            raise InvalidRequestError(f"{spec.name} has no such prompt. Its prompts: {names}.", param="prompt_name")
        return _fill(spec, spec.prompts[prompt_name], instruction)
    side: str | None = suffix
    if input_type is not None:
        side = _side(input_type) or input_type
    if side is None and instruction is not None:
        side = "query"  # an instruction describes a search task
    return _fill(spec, spec.prompts.get(side or "", ""), instruction)


def _side(input_type: str) -> Side | None:
    """The side of a search for an input type; InvalidRequestError if the type is unknown."""
    if input_type in SIDES:
        return SIDES[input_type]
    for ending, side in _ENDINGS.items():
        if input_type.endswith(ending) and input_type != ending:
            return side
    raise InvalidRequestError(f"input_type must be one of {', '.join(SIDES)}.", param="input_type")


def refuse_instruction(spec: ModelSpec) -> None:
    """Raise InvalidRequestError unless the reranker's prompt has a place for an instruction."""
    if spec.scoring is None or not spec.scoring.takes_instruction:
        raise _no_instruction(spec)


def _fill(spec: ModelSpec, prompt: str, instruction: str | None) -> str:
    if instruction is not None and PLACEHOLDER not in prompt:
        raise _no_instruction(spec)
    return prompt.replace(PLACEHOLDER, instruction or spec.instruction or "")


def _no_instruction(spec: ModelSpec) -> InvalidRequestError:
    return InvalidRequestError(
        f"{spec.name} does not accept an instruction here. GET /models shows each model's prompts.", param="instruction"
    )
