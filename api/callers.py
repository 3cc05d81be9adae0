"""Which client library asks, where its own reading of an answer differs from what the route documents."""

from __future__ import annotations

from collections.abc import Mapping


def reads_objects(headers: Mapping[str, str]) -> bool:
    """Cohere's SDK and litellm read documents as objects on /v1/rerank, and `api_version` as an object."""
    return headers.get("x-fern-sdk-name", "").lower() == "cohere" or is_litellm(headers)


def is_litellm(headers: Mapping[str, str]) -> bool:
    """litellm reads Voyage's results under `data`, and does not always say that it asks in Voyage's words."""
    return headers.get("user-agent", "").lower().startswith("litellm")
