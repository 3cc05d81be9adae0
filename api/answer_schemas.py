"""What answers look like, for the OpenAPI document (3.0)."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}


def _list(items: Schema, description: str = "") -> Schema:
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def _object(properties: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
    }


def _fixed(value: str) -> Schema:
    return {"type": "string", "enum": [value]}


ERROR = _object(
    {
        "error": _object(
            {"message": STRING, "type": STRING, "param": {"type": "string", "nullable": True}, "code": STRING}
        ),
        "message": STRING,
        "detail": STRING,
    }
) | {"description": "One body for every status, in the words of OpenAI, Cohere and Jina at once."}

_USAGE = _object({"prompt_tokens": INTEGER, "total_tokens": INTEGER})
_WARNINGS = _list(STRING, "Only when there is something to say.")
_SCORE: Schema = {"type": "number", "description": "0 to 1, unless raw_scores is true."}
_VECTOR: Schema = {
    "oneOf": [{"type": "array", "items": NUMBER}, {"type": "string", "format": "byte"}],
    "description": "Numbers, or with base64 their little-endian bytes.",
}

EMBEDDINGS = _object(
    {
        "object": _fixed("list"),
        "model": STRING,
        "data": _list(_object({"object": _fixed("embedding"), "index": INTEGER, "embedding": _VECTOR})),
        "usage": _USAGE,
        "warnings": _WARNINGS,
    },
    optional=("warnings",),
)

_DOCUMENT: Schema = {
    "anyOf": [STRING, {"type": "object"}],
    "description": "Only if return_documents is true: a string where the document came as one, else the object.",
}
_RESULTS = _list(_object({"index": INTEGER, "relevance_score": _SCORE, "document": _DOCUMENT}, optional=("document",)))
RANKING = _object(
    {
        "id": STRING,
        "model": STRING,
        "results": _RESULTS,
        "usage": _USAGE,
        "meta": _object(
            {
                "api_version": STRING,
                "processing_time_ms": NUMBER,
                "total_documents": INTEGER,
                "returned_documents": INTEGER,
                "warnings": _WARNINGS,
            },
            optional=("warnings",),
        ),
        "object": _fixed("list"),
        "data": _RESULTS | {"description": "The results once more, for Voyage's client."},
    },
    optional=("object", "data"),
)

TOKEN_COUNTS = _object(
    {
        "object": _fixed("list"),
        "model": STRING,
        "data": _list(
            _object(
                {
                    "object": _fixed("token_count"),
                    "index": INTEGER,
                    "tokens": {"type": "integer", "description": "With prompt and special tokens."},
                    "fits": {"type": "boolean", "description": "Whether the model reads all of them."},
                }
            )
        ),
        "max_tokens": {"type": "integer", "description": "What the model takes, special tokens included."},
        "special_tokens": {"type": "integer", "description": "How many special tokens stand around a text."},
        "usage": _USAGE,
    }
)

_COHERE_META = _object(
    {
        "api_version": _object({"version": STRING}),
        "billed_units": {"type": "object", "additionalProperties": INTEGER},
        "tokens": _object({"input_tokens": INTEGER}),
        "warnings": _WARNINGS,
    },
    optional=("warnings",),
)
COHERE_RANKING = _object(
    {"id": STRING, "results": _list(_object({"index": INTEGER, "relevance_score": _SCORE})), "meta": _COHERE_META}
)
COHERE_EMBEDDINGS = _object(
    {
        "id": STRING,
        "response_type": {"type": "string", "enum": ["embeddings_floats", "embeddings_by_type"]},
        "embeddings": {
            "oneOf": [
                _list(_list(NUMBER)),
                {"type": "object", "additionalProperties": _list(_VECTOR)},
            ],
            "description": "Vectors by their type; of /v1/embed without embedding_types a plain list.",
        },
        "texts": _list(STRING),
        "meta": _COHERE_META,
    }
)

VECTORS = _list(_list(NUMBER))
SIMILARITIES = _list(NUMBER)
TEI_RANKING = _list(_object({"index": INTEGER, "score": _SCORE, "text": STRING}, optional=("text",)))
TOKENS = _list(
    _list(
        _object(
            {
                "id": INTEGER,
                "text": STRING,
                "special": BOOLEAN,
                "start": {"type": "integer", "nullable": True, "description": "First character."},
                "stop": {"type": "integer", "nullable": True, "description": "The character after the last."},
            }
        )
    )
)

ANSWERS: dict[str, Schema] = {
    "Error": ERROR,
    "Embeddings": EMBEDDINGS,
    "Ranking": RANKING,
    "TokenCounts": TOKEN_COUNTS,
    "CohereRanking": COHERE_RANKING,
    "CohereEmbeddings": COHERE_EMBEDDINGS,
    "Vectors": VECTORS,
    "Similarities": SIMILARITIES,
    "TeiRanking": TEI_RANKING,
    "Tokens": TOKENS,
}
"""Name in the document -> schema."""
