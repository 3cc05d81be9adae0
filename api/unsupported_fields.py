"""Fields of other services that this one does not support: rejected, ignored silently, or ignored with a warning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from errors import InvalidRequestError

_MAX_NAMES = 10
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,39}", re.ASCII)
"""A name that may be repeated to the client. Other names may contain user text and are only counted."""

HARMLESS: Mapping[str, str] = {
    "user": "OpenAI's clients, also on routes that have no such field",
    "options": "clients of Hugging Face's Inference API (wait_for_model, use_cache)",
    "request_id": "clients of vLLM, to find the request in a log",
    "cache_salt": "clients of vLLM, for its prefix cache",
    "latency": "ZeroEntropy's clients, to choose a queue",
}
"""Fields without effect on the response, and the clients that send them."""


def as_bool(value: object) -> object:
    """The strings "true" and "false", which some clients send, as booleans; other values unchanged."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Unsupported:
    """A field that changes the response of other services."""

    advice: str
    """What to do instead."""
    same: tuple[object, ...] = ()
    """Accepted values: they match the behaviour of this service."""

    def check(self, name: str, value: object) -> None:
        """InvalidRequestError unless the value is one of `same`."""
        meant = as_bool(value)
        if not any(meant == same and isinstance(meant, bool) == isinstance(same, bool) for same in self.same):
            raise InvalidRequestError(f"{name}: this value is not supported. {self.advice}", param=name)


_TEXT_ONLY = "Only text is supported; omit this field."
_INPUT_TYPE = "Send input_type: query or document."
_ANY_ROUTE: Mapping[str, Unsupported] = {
    "modality": Unsupported(_TEXT_ONLY, ("text",)),  # infinity, NVIDIA NIM
    "truncate_prompt_tokens": Unsupported("Send truncate: START or END, and shorter texts.", (-1,)),  # vLLM
    "truncation_side": Unsupported("Send truncate: START.", ("right",)),  # vLLM
    "instruct": Unsupported("Send instruction."),  # DashScope
}

EMBEDDING_FIELDS: Mapping[str, Unsupported] = {
    **_ANY_ROUTE,
    "late_chunking": Unsupported("Use /v1/embeddings, or omit it.", (False,)),  # Jina
    "return_multivector": Unsupported("Use /v1/multi-vector, or omit it.", (False,)),  # Jina
    "images": Unsupported(_TEXT_ONLY, ([],)),  # Cohere
    "image": Unsupported(_TEXT_ONLY),  # Cohere's and Jina's older forms
    "messages": Unsupported("Send the text as input.", ([],)),  # vLLM
    "max_tokens": Unsupported("Send truncate: START or END, and shorter texts."),  # Cohere's /v2/embed
    "add_special_tokens": Unsupported("Special tokens are always added: omit it, or send true.", (True,)),  # vLLM
    "use_activation": Unsupported("Send normalized.", (True,)),  # vLLM
    "embed_dtype": Unsupported("Send output_dtype.", ("float32",)),  # vLLM
    "endianness": Unsupported("Numbers in base64 are always little-endian.", ("little", "native")),  # vLLM
    "prompt": Unsupported(
        "Put it before each text, or send input_type, prompt_name or instruction.", ("",)
    ),  # Mixedbread
    "prompt_template": Unsupported("Apply it to the texts, or send input_type or instruction."),  # Fireworks
    "enable_auto_chunking": Unsupported("Send each chunk as a text of its own.", (False,)),  # Voyage
    "task_type": Unsupported(_INPUT_TYPE),  # Google, Nomic
    "text_type": Unsupported(_INPUT_TYPE),  # DashScope
    "return_sparse": Unsupported("Use /v1/embeddings, or omit it.", (False,)),  # BGE-M3's servers
    "return_dense": Unsupported("Use /v1/embeddings, or omit it.", (True,)),
    "return_colbert_vecs": Unsupported("Use /v1/embeddings, or omit it.", (False,)),
}
"""On /v1/embeddings, /embed, /v1/embed and /v2/embed."""

RERANK_FIELDS: Mapping[str, Unsupported] = {
    **_ANY_ROUTE,
    "use_activation": Unsupported("Send raw_scores: true for the model's own numbers.", (True,)),  # vLLM
    "activation": Unsupported("Send raw_scores: true for the model's own numbers.", (True,)),  # vLLM until 0.14
    "rewrite_query": Unsupported("Queries are used unchanged: omit it, or send false.", (False,)),  # Mixedbread
    "relevant_spans": Unsupported("Documents are scored as a whole: omit it."),  # Cohere's /v2/rerank
    "return_embeddings": Unsupported("Use /v1/embeddings for vectors.", (False,)),  # Jina's listwise rerankers
    "parameters": Unsupported("Send truncate.", ({}, {"truncate": "END"})),  # Pinecone
}
"""On /v1/rerank, /v2/rerank and /rerank."""


def ignored_warning(names: Sequence[str]) -> list[str]:
    """One sentence about ignored fields with some of their names; nothing without ignored fields."""
    if not names:
        return []
    named = [name for name in names if _NAME.fullmatch(name)][:_MAX_NAMES]
    others = len(names) - len(named)
    listed = [*named, *([f"{others} more" if named else f"{others}"] if others else [])]
    return [f"Ignored fields: {', '.join(listed)}."]
