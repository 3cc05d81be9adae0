"""Packed texts: every architecture that supports packing computes the same numbers as for padded texts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer

from importing.registration import packaged_folder
from models.catalog import load_catalog
from models.store import ModelStore
from runners.backends.batches import PackedBatch, PaddedBatch, UnpaddedBatch
from runners.contracts import Rows, TokenSequence
from runners.networks.build import load_network
from runners.networks.network import Network, UnpaddedBody
from runners.networks.packing import ATTENTION, can_pack, register
from runners.networks.pooling import normalize
from tests.conftest import MODEL
from tests.integration.architectures.workshop import Model, Workshop
from tests.serving import ROOT
from tests.tolerance import FLOAT32, scaled

PACKED = [
    "multilingual-e5-small",  # BERT
    "ruri-v3-30m",  # ModernBERT, sliding window
    "qwen3-embedding-0.6b",  # causal, fewer keys than queries
    "embeddinggemma-300m",  # sliding window both ways, Dense layers as head
    "e5-mistral-7b",  # sliding window, causal
    "nemotron-3-embed-1b",  # a decoder with attention in both directions
    "bge-m3",  # XLM-RoBERTa, positions start after the padding id
    "bge-reranker-v2-m3",
    "japanese-reranker-large",  # segments
    "japanese-reranker-tiny-v2",  # ModernBERT
    "gte-multilingual-reranker",
    "jina-reranker-v2-multilingual",
    "jina-embeddings-v3-separation",  # rotary positions
    "qwen3-reranker-0.6b",
]
PADDED = ["all-mpnet-base-v2", "luke-japanese-base", "nv-embed-v2", "mxbai-rerank-large", "jina-reranker-turbo"]
"""Their attention has inputs other than the mask."""

LENGTHS = (3, 190, 17, 64, 5)
"""The longest exceeds the sliding windows."""

Load = Callable[[str], tuple[Model, Network]]


@pytest.fixture(scope="session")
def load(workshop: Workshop) -> Load:
    """An imported tiny model with the attention for packed and padded batches."""
    register()

    def get(name: str) -> tuple[Model, Network]:
        model = workshop.model(name)
        network = load_network(model.stored.folder, model.spec, model.stored.facts, torch.float32, attention=ATTENTION)
        return model, network

    return get


def texts(model: Model) -> list[TokenSequence]:
    """Random ids of these lengths; pooling excludes the first tokens of each."""
    facts, random = model.stored.facts, np.random.default_rng(1)
    lengths = [min(length, facts.max_tokens) for length in LENGTHS]
    return [
        TokenSequence(
            random.integers(10, facts.vocabulary, size=length).tolist(),
            [0] * (length // 2) + [1] * (length - length // 2) if facts.token_type_ids else None,
            unpooled=2,
        )
        for length in lengths
    ]


def padded(model: Model, network: Network, sequences: list[TokenSequence]) -> Rows:
    batch = PaddedBatch.of(sequences, model.stored.facts.pad_id)
    with torch.inference_mode():
        rows: Rows = network(*map(torch.from_numpy, batch.arrays())).numpy()
    return rows


def packed(network: Network, sequences: list[TokenSequence]) -> Rows:
    batch = PackedBatch.of(sequences)
    with torch.inference_mode():
        rows: Rows = network.forward_packed(
            torch.from_numpy(batch.tokens), torch.from_numpy(batch.bounds), batch.longest
        ).numpy()
    return rows


def assert_same(found: Rows, expected: Rows) -> None:
    """Equal within float32's accuracy."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=scaled(expected))


@pytest.mark.parametrize("name", PACKED)
def test_packed_texts_equal_padded_ones(load: Load, name: str) -> None:
    model, network = load(name)
    assert can_pack(network.body.encoder)
    sequences = texts(model)
    assert_same(packed(network, sequences), padded(model, network, sequences))


def unpadded(model: Model, network: Network, sequences: list[TokenSequence]) -> Rows:
    """A batch that only attention pads."""
    batch = UnpaddedBatch.of(PaddedBatch.of(sequences, model.stored.facts.pad_id), step=8)
    with torch.inference_mode():
        rows = UnpaddedBody(network.body)(*map(torch.from_numpy, batch.arrays()))
        found: Rows = (rows if network.head is None else network.head(rows)).numpy()
    return found


@pytest.mark.parametrize("name", PACKED)
def test_texts_padded_only_in_attention_equal_padded_ones(load: Load, name: str) -> None:
    model, network = load(name)
    sequences = texts(model)
    assert_same(unpadded(model, network, sequences), padded(model, network, sequences))
    alone = np.concatenate([unpadded(model, network, [sequence]) for sequence in sequences])
    assert_same(unpadded(model, network, sequences[::-1]), alone[::-1])


@pytest.mark.parametrize("name", PACKED)
def test_packed_texts_do_not_attend_to_each_other(load: Load, name: str) -> None:
    model, network = load(name)
    sequences = texts(model)
    alone = np.concatenate([packed(network, [sequence]) for sequence in sequences])
    assert_same(packed(network, sequences), alone)
    assert_same(packed(network, sequences[::-1]), alone[::-1])


def test_packed_texts_rank_as_padded_ones(imported: Path) -> None:
    """The real model finds the same passages. Attention that is slightly wrong changes rankings first."""
    spec = load_catalog().get(MODEL)
    stored = ModelStore(imported).find(spec)
    assert stored is not None
    register()
    network = load_network(stored.folder, spec, stored.facts, torch.float32, attention=ATTENTION)
    reference = SentenceTransformer(str(packaged_folder(spec)), device="cpu", model_kwargs={"dtype": torch.float32})
    sides = []
    for name in ("queries", "passages"):
        lines = (ROOT / "examples" / "search" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line)["text"] for line in lines]
        ids = [TokenSequence(reference.tokenizer(text)["input_ids"]) for text in found]
        sides.append((normalize(packed(network, ids)), reference.encode(found, batch_size=64, show_progress_bar=False)))
    (queries, padded_queries), (passages, padded_passages) = sides
    scores, expected = queries @ passages.T, padded_queries @ padded_passages.T
    np.testing.assert_allclose(scores, expected, rtol=0, atol=FLOAT32)
    best = np.take_along_axis(expected, np.argsort(-scores), axis=1)
    np.testing.assert_allclose(best, -np.sort(-expected), rtol=0, atol=FLOAT32)  # in order, but for equal scores


@pytest.mark.parametrize("name", PADDED)
def test_can_pack_is_false_for_other_architectures(load: Load, name: str) -> None:
    _, network = load(name)
    assert not can_pack(network.body.encoder)
