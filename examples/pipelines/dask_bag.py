"""Embed texts with Dask, with the model in its processes.

PYTHONPATH=. python examples/pipelines/dask_bag.py
"""

from __future__ import annotations

import os
from typing import Any

import dask.bag

from in_process import Embedder

embed = Embedder(os.environ.get("MODEL", "all-minilm-l6-v2"), input_type="document")  # travels without the model


def add_embeddings(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A partition with vectors; a process loads the model at its first partition."""
    vectors = embed([row["text"] for row in rows]).dense
    return [row | {"embedding": vector} for row, vector in zip(rows, vectors, strict=True)]


if __name__ == "__main__":  # Dask starts processes that import this file
    rows = [{"id": 1, "text": "The cat sits on the mat."}, {"id": 2, "text": "Stocks fell sharply today."}]
    bag = dask.bag.from_sequence(rows, npartitions=1).map_partitions(add_embeddings)
    for row in bag.compute(scheduler="processes", num_workers=1):
        print(row["id"], row["text"], len(row["embedding"]), "numbers")
