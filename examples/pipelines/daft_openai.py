"""Embed a column of a Daft data frame through the running service, with Daft's provider for OpenAI."""

from __future__ import annotations

import os

import daft
from daft import col
from daft.functions import embed_text

daft.set_provider(
    "openai",
    base_url=os.environ.get("BASE_URL", "http://localhost:7987") + "/v1",
    api_key=os.environ.get("API_KEY", "none"),
)
frame = daft.from_pydict({"id": [1, 2], "text": ["The cat sits on the mat.", "Stocks fell sharply today."]})
frame = frame.with_column(
    "embedding", embed_text(col("text"), provider="openai", model=os.environ.get("MODEL", "all-minilm-l6-v2"))
)
for row in frame.to_pylist():
    print(row["id"], row["text"], len(row["embedding"]), "numbers")
