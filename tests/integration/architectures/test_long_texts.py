"""Long texts: memory is within the estimate and released, and numbers equal those of a plain padded pass."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest
import torch

from errors import InputTooLongError
from runners.backends import openvino
from runners.backends.batches import PaddedBatch
from runners.backends.openvino import OpenVINOBackend
from runners.contracts import BatchShape, Rows, TokenSequence, TokenSequences
from runners.networks import jina_bert, packing
from runners.networks.build import load_network
from runners.pool.memory import DeviceMemory, PassMemory
from tests.integration.architectures.workshop import Model, Workshop
from tests.integration.exports import AUTO, DEVICE, TORCH, Exported, assert_same, load
from tests.serving import ROOT
from tests.unit.fakes import make_engine

LONG = 2600
MODELS = [
    "bge-m3",  # full attention
    "qwen3-embedding-0.6b",  # causal
    "ruri-v3-30m",  # sliding window
    "jina-reranker-turbo",  # ALiBi: a bias for each head
]
PASSES = [*((name, (LONG, 700)) for name in MODELS), ("qwen3-embedding-0.6b", (LONG,))]


def texts(model: Model, *lengths: int) -> list[TokenSequence]:
    """The same texts as in long_text.py."""
    segments = model.stored.facts.token_type_ids
    return [TokenSequence([10 + place % 90 for place in range(n)], [0] * n if segments else None) for n in lengths]


def padded(model: Model, sequences: list[TokenSequence]) -> Rows:
    """Rows of a padded batch with transformers' attention."""
    stored = model.stored
    network = load_network(stored.folder, model.spec, stored.facts, torch.float32, attention="sdpa")
    with torch.inference_mode():
        inputs = map(torch.from_numpy, PaddedBatch.of(sequences, stored.facts.pad_id).arrays())
        rows: Rows = network(*inputs).numpy()
    return rows


@pytest.fixture(scope="session")
def measured(exported: Exported, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Measurements of each of PASSES, in a child process."""
    models = [exported(name)[0] for name, _ in PASSES]
    tasks = [
        (model.spec, model.stored, DEVICE, AUTO, lengths) for model, (_, lengths) in zip(models, PASSES, strict=True)
    ]
    file = tmp_path_factory.mktemp("measured") / "tasks"
    file.write_bytes(pickle.dumps(tasks))
    command = [sys.executable, "-m", "tests.integration.architectures.long_text", str(file)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


@pytest.mark.skipif(sys.platform != "linux", reason="reads the kernel's count of pages")
@pytest.mark.parametrize("number", range(len(PASSES)), ids=[f"{name}-{len(lengths)}" for name, lengths in PASSES])
def test_the_memory_of_a_pass_is_within_the_estimate_and_released(
    exported: Exported, measured: list[dict[str, Any]], number: int
) -> None:
    """One text, and two in a batch."""
    (name, lengths), found = PASSES[number], measured[number]
    assert 0 < found["peak"] <= found["estimate"]
    assert found["kept"] <= 2**26
    model, _ = exported(name)
    assert_same(np.array(found["rows"], dtype=np.float32), padded(model, texts(model, *lengths)))


@pytest.mark.parametrize("others", [(), (300, 40)])
@pytest.mark.parametrize("name", MODELS)
async def test_a_text_that_exceeds_the_memory_budget_is_rejected(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, name: str, others: tuple[int, ...]
) -> None:
    """One text, and several in a batch: a pass that would exceed the budget never starts."""
    model, _ = exported(name)
    backend = load(model)
    limit = model.stored.facts.max_tokens
    assert limit >= 8192
    needed, passes = backend.pass_bytes(BatchShape.of([limit])), list[int]()

    def forward(sequences: TokenSequences) -> Rows:
        passes.append(backend.pass_bytes(BatchShape.of(list(map(len, sequences)))))
        return np.zeros((len(sequences), 1), dtype=np.float32)

    monkeypatch.setattr(backend, "forward", forward)
    for budget, refused in ((needed, False), (needed - 1, True)):
        memory = PassMemory(DeviceMemory(budget), backend.pass_bytes)
        engine = make_engine(backend, name=name, max_batch_tokens=16_384, memory=memory)
        with pytest.raises(InputTooLongError, match=f"input of {limit} tokens needs") if refused else nullcontext():
            assert len(await engine.run(texts(model, limit, *others))) == 1 + len(others)
        await asyncio.to_thread(engine.local._batcher.close)
    assert max(passes) == needed


@pytest.mark.parametrize("name", ["ruri-v3-30m", "embeddinggemma-300m", "e5-mistral-7b"])
def test_a_sliding_window_computed_in_blocks_is_exact(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The block length divides neither the text nor the window."""
    model = workshop.model(name)
    monkeypatch.setattr(packing, "QUERY_BLOCK", 50)
    backend = load(model, TORCH)
    sequences = texts(model, 733, 3, 120)
    assert_same(backend._forward(sequences, packed=True), padded(model, sequences))  # type: ignore[attr-defined]


def test_a_bias_computed_in_blocks_is_exact(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    model = workshop.model("jina-reranker-turbo")
    sequences = texts(model, 700, 5, 99)
    expected = padded(model, sequences)
    monkeypatch.setattr(jina_bert, "QUERY_BLOCK", 99)
    monkeypatch.setattr(jina_bert, "BIAS_ROWS", 64)
    assert_same(padded(model, sequences), expected)


@pytest.fixture
def backend(exported: Exported) -> OpenVINOBackend:
    model, _ = exported("multilingual-e5-small")
    loaded = load(model)
    assert isinstance(loaded, OpenVINOBackend)
    return loaded


def test_only_large_passes_release_openvinos_memory(
    backend: OpenVINOBackend, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = exported("multilingual-e5-small")
    sequences = texts(model, *[500] * 5)
    expected = backend.forward(sequences)
    given_back: list[int] = []
    assert backend._graphs is not None
    monkeypatch.setattr(backend._graphs, "free_pass_memory", lambda: given_back.append(1))
    np.testing.assert_array_equal(backend.forward(sequences), expected)
    assert not given_back
    monkeypatch.setattr(openvino, "KEPT_BYTES", 2**20)
    backend.forward(sequences[:2])
    assert not given_back
    backend.forward(sequences)
    assert given_back


def test_passes_are_correct_after_memory_was_released(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO's own function for releasing memory makes later passes return earlier rows."""
    model, _ = exported("ruri-v3-30m")
    monkeypatch.setattr(openvino, "KEPT_BYTES", 2**20)
    backend = load(model)
    expected = {length: padded(model, texts(model, length)) for length in (1200, 1500)}
    for length in (1200, 1200, 1500, 1200, 1500, 1500):
        assert_same(backend.forward(texts(model, length)), expected[length])


def test_passes_that_need_less_memory_in_torch_run_in_torch(
    backend: OpenVINOBackend, exported: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = exported("multilingual-e5-small")
    sequences = texts(model, *[512] * 9)
    size = BatchShape.of([512] * 9)
    expected, needed = backend.forward(sequences), backend.pass_bytes(size)
    monkeypatch.setattr(openvino, "TORCH_BYTES", 2**20)
    monkeypatch.setattr(backend, "_torch_bytes", lambda _: needed // 4)
    assert backend.pass_bytes(size) == needed // 4
    monkeypatch.setattr(backend._graphs, "infer", None)  # any call fails
    assert_same(backend.forward(sequences), expected)
    assert_same(backend.forward_exact(sequences), expected)
