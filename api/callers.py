"""Which client library asks, where its own reading of an answer differs from what the route documents."""

from __future__ import annotations

from collections.abc import Mapping


def is_cohere_sdk(headers: Mapping[str, str]) -> bool:
    """Cohere's SDK reads documents as objects and `api_version` as an object."""
    return headers.get("x-fern-sdk-name", "").lower() == "cohere"


def is_litellm(headers: Mapping[str, str]) -> bool:
    """litellm asks for documents and reads them as objects; for Voyage it reads results under `data`."""
    return headers.get("user-agent", "").lower().startswith("litellm")
