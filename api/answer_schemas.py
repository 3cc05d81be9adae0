"""What answers look like, for the OpenAPI document (3.0)."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def _string(description: str, **more: Any) -> Schema:
    return {"type": "string", "description": description, **more}


def _integer(description: str, **more: Any) -> Schema:
    return {"type": "integer", "description": description, **more}


def _number(description: str) -> Schema:
    return {"type": "number", "description": description}


def _list(items: Schema, description: str) -> Schema:
    return {"type": "array", "items": items, "description": description}


def _object(description: str, properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "description": description,
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def _fixed(value: str) -> Schema:
    return _string(f"Always {value}.", enum=[value])


_MESSAGE = _string("What was wrong, the limit, and what to do.")
ERROR = _object(
    "One body for every status, in the words of OpenAI, Cohere and Jina at once.",
    {
        "error": _object(
            "As OpenAI's clients read it.",
            {
                "message": _MESSAGE,
                "type": _string("invalid_request_error, rate_limit_error or server_error."),
                "param": _string("The field that was wrong.", nullable=True),
                "code": _string("What happened, for programs."),
            },
        ),
        "message": _MESSAGE,
        "detail": _MESSAGE,
    },
)

_MODEL = _string("The model's name as the request said it.")
_INDEX = _integer("Place in the request, from 0.")
_USAGE = _object(
    "Tokens by the model's own tokenizer.",
    {"prompt_tokens": _integer("Tokens that were read."), "total_tokens": _integer("The same.")},
)
_WARNINGS = _list({"type": "string"}, "Only when there is something to say.")
_SCORE = _number("0 to 1, unless raw_scores is true.")
_ID = _string("Names this answer.")
_NUMBERS: Schema = {"type": "array", "items": {"type": "number"}}
_VECTOR: Schema = {
    "oneOf": [_NUMBERS, {"type": "string", "format": "byte"}],
    "description": "Numbers, or with base64 their little-endian bytes.",
}

EMBEDDINGS = _object(
    "Vectors in the order of the inputs.",
    {
        "object": _fixed("list"),
        "model": _MODEL,
        "data": _list(
            _object("One vector.", {"object": _fixed("embedding"), "index": _INDEX, "embedding": _VECTOR}),
            "One for each input.",
        ),
        "usage": _USAGE,
        "warnings": _WARNINGS,
    },
    optional=("warnings",),
)

_DOCUMENT: Schema = {
    "anyOf": [{"type": "string"}, {"type": "object"}],
    "description": "Only if return_documents is true: a string where the document came as one, else the object.",
}
_RESULT = _object(
    "One document's score.",
    {"index": _INDEX, "relevance_score": _SCORE, "document": _DOCUMENT},
    optional=("document",),
)
RANKING = _object(
    "Documents, best first.",
    {
        "id": _ID,
        "model": _MODEL,
        "results": _list(_RESULT, "Best first; equal scores in the order of the request."),
        "usage": _USAGE,
        "meta": _object(
            "About this answer.",
            {
                "api_version": {
                    "anyOf": [{"type": "string", "enum": ["v1"]}, {"type": "object"}],
                    "description": "v1; for Cohere's SDK the object that it reads.",
                },
                "processing_time_ms": _number("From the parsed request to the scores."),
                "total_documents": _integer("Documents in the request."),
                "returned_documents": _integer("Results in the answer."),
                "warnings": _WARNINGS,
            },
            optional=("warnings",),
        ),
        "object": _fixed("list"),
        "data": _list(_RESULT, "The results once more, where top_k or truncation says that Voyage's client asks."),
    },
    optional=("object", "data"),
)

TOKEN_COUNTS = _object(
    "How many tokens texts have.",
    {
        "object": _fixed("list"),
        "model": _MODEL,
        "data": _list(
            _object(
                "One text.",
                {
                    "object": _fixed("token_count"),
                    "index": _INDEX,
                    "tokens": _integer("With prompt and special tokens."),
                    "fits": {"type": "boolean", "description": "Whether the model reads all of them."},
                },
            ),
            "One for each text.",
        ),
        "max_tokens": _integer("What the model takes, special tokens included."),
        "special_tokens": _integer("How many special tokens stand around a text."),
        "usage": _USAGE,
        "warnings": _WARNINGS,
    },
    optional=("warnings",),
)

_COHERE_META = _object(
    "About this answer.",
    {
        "api_version": _object("Of Cohere's API.", {"version": _string("1 or 2.")}),
        "billed_units": {
            "type": "object",
            "additionalProperties": {"type": "integer"},
            "description": "What Cohere would count: input_tokens, or a search unit for each 100 documents.",
        },
        "tokens": _object("Tokens that were read.", {"input_tokens": _integer("All of them.")}),
        "warnings": _WARNINGS,
    },
    optional=("warnings",),
)
_COHERE_DOCUMENT: Schema = {"type": "object", "description": "Only if return_documents is true: with the key text."}
COHERE_RANKING = _object(
    "Documents, best first.",
    {
        "id": _ID,
        "results": _list(
            _object(
                "One document's score.",
                {"index": _INDEX, "relevance_score": _SCORE, "document": _COHERE_DOCUMENT},
                optional=("document",),
            ),
            "Best first; equal scores in the order of the request.",
        ),
        "meta": _COHERE_META,
    },
)
COHERE_EMBEDDINGS = _object(
    "Vectors in the order of the texts.",
    {
        "id": _ID,
        "response_type": _string("What embeddings holds.", enum=["embeddings_floats", "embeddings_by_type"]),
        "embeddings": {
            "oneOf": [
                {"type": "array", "items": _NUMBERS},
                {"type": "object", "additionalProperties": {"type": "array", "items": _VECTOR}},
            ],
            "description": "Vectors by their type; of /v1/embed without embedding_types a plain list.",
        },
        "texts": _list({"type": "string"}, "The texts of the request."),
        "meta": _COHERE_META,
    },
)

COHERE_TOKENS = _object(
    "The tokens of a text, without special ones.",
    {
        "tokens": _list({"type": "integer"}, "Their ids in the model's vocabulary."),
        "token_strings": _list({"type": "string"}, "The parts of the text that they stand for."),
        "meta": _object(
            "About this answer.",
            {"api_version": _object("Of Cohere's API.", {"version": _string("1.")}), "warnings": _WARNINGS},
            optional=("warnings",),
        ),
    },
)

VECTORS = _list(_NUMBERS, "A vector for each input.")
SIMILARITIES = _list({"type": "number"}, "A cosine for each sentence.")
TEI_RANKING = _list(
    _object(
        "One text's score.",
        {"index": _INDEX, "score": _SCORE, "text": _string("The text, if return_text is true.")},
        optional=("text",),
    ),
    "Best first; equal scores in the order of the request.",
)
TOKENS = _list(
    _list(
        _object(
            "One token.",
            {
                "id": _integer("In the model's vocabulary."),
                "text": _string("The part of the text, or a special token's name."),
                "special": {"type": "boolean", "description": "Whether the model's template put it there."},
                "start": _integer("First character; null where it is not known.", nullable=True),
                "stop": _integer("The character after the last; null where it is not known.", nullable=True),
            },
        ),
        "The tokens of a text.",
    ),
    "One list for each text.",
)

_STATES = ["ready", "loading", "stored", "importing", "importable", "forwarded", "unavailable"]
_STATE = _string("What can be done with it now.", enum=_STATES)
_MEMORY = _integer("Bytes that it takes in memory; null where it is not there.", nullable=True)
MODELS = _object(
    "Every model, and what the service allows. With several workers, those of the one that answers.",
    {
        "default_embedding_model": _string("Model of an embedding request that names none."),
        "default_reranker_model": _string("Model of a rerank request that names none."),
        "tasks": _list({"type": "string"}, "What this process serves: embeddings, rerank, or both."),
        "limits": _object(
            "Of one request.",
            {
                "max_inputs": _integer("Texts in an embedding request."),
                "max_documents": _integer("Documents in a rerank request."),
                "max_body_bytes": _integer("Size of a body."),
            },
        ),
        "playground": {"type": "boolean", "description": "Whether /playground is served."},
        "admin": {"type": "boolean", "description": "Whether models may be loaded, unloaded and imported by request."},
        "models": _list(
            _object(
                "One model; further facts stand beside these.",
                {
                    "id": _string("Short name."),
                    "full_name": _string("Name on the Hub."),
                    "kind": _string("What it does.", enum=["embedding", "reranker"]),
                    "state": _STATE,
                    "detail": _string("Why it is unavailable, or failed to load.", nullable=True),
                    "import_progress": {"type": "number", "description": "From 0 to 1.", "nullable": True},
                    "backend": _string("What runs it, where it is in memory.", nullable=True),
                    "dtype": _string("In which it computes: float32, bfloat16, float16 or int8.", nullable=True),
                    "weights_dtype": _string("In which its weights are kept.", nullable=True),
                    "memory_bytes": _MEMORY,
                    "max_tokens": _integer("What it reads of a text.", nullable=True),
                    "dimensions": _integer("Width of its vectors.", nullable=True),
                    "license": _string("SPDX identifier, or the repository's words."),
                },
            ),
            "In the catalogue's order.",
        ),
    },
)
MODEL_STATE = _object(
    "What became of a model.", {"id": _string("Short name."), "state": _STATE, "memory_bytes": _MEMORY}
)

ANSWERS: dict[str, Schema] = {
    "Error": ERROR,
    "Models": MODELS,
    "ModelState": MODEL_STATE,
    "Embeddings": EMBEDDINGS,
    "Ranking": RANKING,
    "TokenCounts": TOKEN_COUNTS,
    "CohereRanking": COHERE_RANKING,
    "CohereEmbeddings": COHERE_EMBEDDINGS,
    "CohereTokens": COHERE_TOKENS,
    "Vectors": VECTORS,
    "Similarities": SIMILARITIES,
    "TeiRanking": TEI_RANKING,
    "Tokens": TOKENS,
}
"""Name in the document -> schema."""
