"""Client libraries that read an answer differently from what the route documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

ClientLibrary = Literal["cohere", "litellm"]


def client_library(headers: Mapping[str, str]) -> ClientLibrary | None:
    """The library that sent a request to /v1/rerank; None for all libraries that read the documented answer.

    Both libraries read documents and `api_version` as objects. litellm also reads Voyage's results from `data`, without
    always sending a field that only Voyage has.
    """
    if headers.get("user-agent", "").lower().startswith("litellm"):
        return "litellm"
    return "cohere" if headers.get("x-fern-sdk-name", "").lower() == "cohere" else None
