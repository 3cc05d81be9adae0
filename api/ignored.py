"""Fields that other services know and this one does not use: refused, harmless, or named in a warning."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from errors import InvalidRequestError

_MAX_NAMES = 10
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,39}", re.ASCII)
"""A name that is repeated to the client; others may hold anything and are counted only."""

HARMLESS: Mapping[str, str] = {
    "user": "OpenAI's clients, also on routes that have no such field",
    "options": "clients of Hugging Face's Inference API (wait_for_model, use_cache)",
    "request_id": "clients of vLLM, to find the request in a log",
    "cache_salt": "clients of vLLM, for its prefix cache",
}
"""Fields without any effect on an answer, and who sends them."""


def as_bool(value: object) -> object:
    """Some clients send "true"."""
    return {"true": True, "false": False}.get(value.lower(), value) if isinstance(value, str) else value


@dataclass(frozen=True)
class Refused:
    """A field that changes the answer where it is known. `same` are the values that ask for what is done anyway."""

    do: str
    """What to do instead."""
    same: tuple[object, ...] = ()

    def check(self, name: str, value: object) -> None:
        """InvalidRequestError unless the value asks for nothing."""
        meant = as_bool(value)
        if not any(meant == same and isinstance(meant, bool) == isinstance(same, bool) for same in self.same):
            raise InvalidRequestError(f"{name}: this service cannot do that. {self.do}", param=name)


_TEXT_ONLY = "The models here read text only; leave it out."
_INPUT_TYPE = "Send input_type: query or document."
_ANY_ROUTE: Mapping[str, Refused] = {
    "modality": Refused(_TEXT_ONLY, ("text",)),  # infinity, NVIDIA NIM
    "truncate_prompt_tokens": Refused("Send truncate: START or END, and shorter texts.", (-1,)),  # vLLM
    "truncation_side": Refused("Send truncate: START.", ("right",)),  # vLLM
    "instruct": Refused("Send instruction."),  # DashScope
}

EMBEDDING_FIELDS: Mapping[str, Refused] = {
    **_ANY_ROUTE,
    "late_chunking": Refused("Embed each chunk by itself: leave it out, or send false.", (False,)),  # Jina
    "return_multivector": Refused("A text has one vector here: leave it out, or send false.", (False,)),  # Jina
    "images": Refused(_TEXT_ONLY, ([],)),  # Cohere
    "image": Refused(_TEXT_ONLY),  # Cohere's and Jina's older forms
    "messages": Refused("Send the text as input.", ([],)),  # vLLM
    "max_tokens": Refused("Send truncate: START or END, and shorter texts."),  # Cohere's /v2/embed
    "add_special_tokens": Refused("Vectors are of texts with their special tokens: leave it out.", (True,)),  # vLLM
    "use_activation": Refused("Send normalized.", (True,)),  # vLLM
    "embed_dtype": Refused("Send output_dtype.", ("float32",)),  # vLLM
    "endianness": Refused("Numbers in base64 are little-endian.", ("little", "native")),  # vLLM
    "prompt": Refused(
        "Write it before each text, or send input_type, prompt_name or instruction.", ("",)
    ),  # Mixedbread
    "prompt_template": Refused("Fill it in yourself, or send input_type or instruction."),  # Fireworks
    "task_type": Refused(_INPUT_TYPE),  # Google, Nomic
    "text_type": Refused(_INPUT_TYPE),  # DashScope
    "return_sparse": Refused("Vectors are dense here: leave it out, or send false.", (False,)),  # BGE-M3's servers
    "return_dense": Refused("Vectors are dense here: leave it out, or send true.", (True,)),
    "return_colbert_vecs": Refused("A text has one vector here: leave it out, or send false.", (False,)),
}
"""Of /v1/embeddings, /embed, /v1/embed and /v2/embed elsewhere."""

RERANK_FIELDS: Mapping[str, Refused] = {
    **_ANY_ROUTE,
    "use_activation": Refused("Send raw_scores: true for the model's own numbers.", (True,)),  # vLLM
    "activation": Refused("Send raw_scores: true for the model's own numbers.", (True,)),  # vLLM until 0.14
    "rewrite_query": Refused("Queries are ranked as they are: leave it out, or send false.", (False,)),  # Mixedbread
    "relevant_spans": Refused("Documents are scored as a whole: leave it out."),  # Cohere's /v2/rerank
    "return_embeddings": Refused("Ask /v1/embeddings for vectors.", (False,)),  # Jina's listwise rerankers
}
"""Of /v1/rerank, /v2/rerank and /rerank elsewhere."""


def ignored_warning(names: Sequence[str]) -> list[str]:
    """One sentence about fields that had no effect, with the names of some; nothing where there were none."""
    if not names:
        return []
    named = [name for name in names if _NAME.fullmatch(name)][:_MAX_NAMES]
    others = len(names) - len(named)
    listed = [*named, *([f"{others} more" if named else f"{others}"] if others else [])]
    return [f"Fields without effect here: {', '.join(listed)}."]
