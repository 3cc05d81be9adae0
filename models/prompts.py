"""Choose the prompt before an input: asymmetric models were trained with a prefix on one side or both.

OpenAI's API has no field for it. A request may use `input_type`, `prompt_name`, or a suffix of the model's name
(`ruri-large:query`). Without any of these, texts are embedded without a prompt.
"""

from __future__ import annotations

from errors import InvalidRequestError
from models.catalog import ModelSpec, Side

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


class Prompt(str):
    """The text before an input, and the side of a search that it is for: some models have a network for each side."""

    side: Side | None

    def __new__(cls, text: str, side: Side | None = None) -> Prompt:
        """A prompt; it may be empty."""
        made = super().__new__(cls, text)
        made.side = side
        return made


def choose_prompt(
    spec: ModelSpec,
    *,
    input_type: str | None = None,
    prompt_name: str | None = None,
    instruction: str | None = None,
    suffix: Side | None = None,
) -> Prompt:
    """The text to put before each input; may be empty.

    `prompt_name` takes precedence over `input_type`, which takes precedence over the suffix of the model's name. A
    model may have no prompt for a side. Raises InvalidRequestError for an unknown prompt or input type.
    """
    if prompt_name is not None:
        if prompt_name not in spec.prompts:
            names = ", ".join(spec.prompts) or "none"
            raise InvalidRequestError(f"{spec.name} has no such prompt. Its prompts: {names}.", param="prompt_name")
        named = {"query": SIDES["query"], "document": SIDES["document"]}.get(prompt_name)
        return _fill(spec, spec.prompts[prompt_name], instruction, named)
    side = suffix if input_type is None else _side(input_type)
    if side is None and input_type is None and instruction is not None:
        side = "query"  # an instruction describes a search task
    name = side or input_type or spec.default_prompt or ""
    return _fill(spec, spec.prompts.get(name, ""), instruction, side)


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


def _fill(spec: ModelSpec, prompt: str, instruction: str | None, side: Side | None = None) -> Prompt:
    if instruction is not None and PLACEHOLDER not in prompt:
        raise _no_instruction(spec)
    return Prompt(prompt.replace(PLACEHOLDER, instruction or spec.instruction or ""), side)


def _no_instruction(spec: ModelSpec) -> InvalidRequestError:
    return InvalidRequestError(
        f"{spec.name} does not accept an instruction here. GET /models shows each model's prompts.", param="instruction"
    )
