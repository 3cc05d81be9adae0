"""Client libraries that expect a response other than the documented one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

ClientLibrary = Literal["cohere", "litellm"]


def client_library(headers: Mapping[str, str]) -> ClientLibrary | None:
    """The library that sent a request to /v1/rerank; None for all libraries that expect the documented response.

    Both libraries expect documents and `api_version` as objects. For Voyage, litellm reads the results from `data`, and
    does not always send a field that only Voyage has.
    """
    if headers.get("user-agent", "").lower().startswith("litellm"):
        return "litellm"
    return "cohere" if headers.get("x-fern-sdk-name", "").lower() == "cohere" else None
