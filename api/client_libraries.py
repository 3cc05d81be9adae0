"""Client libraries that expect a response other than the documented one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

ClientLibrary = Literal["cohere", "litellm"]


def client_library(headers: Mapping[str, str]) -> ClientLibrary | None:
    """The library that sent a rerank request; None for all libraries that expect the documented response.

    Both libraries expect `api_version` as an object, and on /v1/rerank documents, too.
    """
    if headers.get("user-agent", "").lower().startswith("litellm"):
        return "litellm"
    return "cohere" if headers.get("x-fern-sdk-name", "").lower() == "cohere" else None
