"""The torch engine on a GPU: packed texts, captured passes, memory. Skipped without a GPU."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from runners.backends.accuracy import difference, probes
from runners.backends.torch import TorchBackend
from runners.contracts import OutOfMemoryError, Rows, TokenSequence, TokenSequences
from runners.devices import Device
from tests.integration.architectures.test_packing import PACKED, PADDED
from tests.integration.architectures.workshop import Model, Workshop

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch sees")

GPU = Device("cuda", "cuda:0", "float16", threads=1)  # bfloat16's rounding has too large an effect on random weights
CPU = Device("cpu", "cpu", "float32", threads=4)
CPU_HALF = Device("cpu", "cpu", "float16", threads=4)

Build = Callable[[str], Model]


@pytest.fixture(scope="session")
def build(workshop: Workshop) -> Build:
    """An imported tiny model."""
    return workshop.model


def on(device: Device, model: Model) -> TorchBackend:
    return TorchBackend(model.stored.folder, model.spec, model.stored.facts, device)


def head_width(model: Model) -> int:
    """Width of an attention head. Flash attention needs a multiple of 8, which all real models have."""
    config = json.loads((model.stored.folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def near(model: Model, expected: Rows, found: Rows) -> str | None:
    return difference(expected, found, "bf16", vectors=model.stored.facts.dimensions is not None)


def texts(model: Model, count: int, longest: int, seed: int = 0) -> TokenSequences:
    """Random ids of random lengths."""
    facts, random = model.stored.facts, np.random.default_rng(seed)
    return [
        TokenSequence(
            random.integers(10, facts.vocabulary, size=length).tolist(), [0] * length if facts.token_type_ids else None
        )
        for length in random.integers(3, min(longest, facts.max_tokens), size=count).tolist()
    ]


@pytest.mark.parametrize("name", [*PACKED, *PADDED])
def test_half_precision_on_the_gpu_is_close_to_float32_on_a_cpu(build: Build, name: str) -> None:
    model = build(name)
    found, exact, half = on(GPU, model), on(CPU, model), on(CPU_HALF, model)
    assert found.padding_cost == (0.0 if name in PACKED and head_width(model) % 8 == 0 else 1.0)
    for sequences in (*probes(model.stored.facts), texts(model, 64, 40), texts(model, 20, 300)):
        rows = found.forward(sequences)
        # float16 on a CPU loses as much for the rotary angles of high positions
        assert near(model, exact.forward(sequences), rows) is None or near(model, half.forward(sequences), rows) is None


@pytest.mark.parametrize("name", ["multilingual-e5-small", "ruri-v3-30m", "bge-reranker-v2-m3", "all-mpnet-base-v2"])
def test_a_text_has_the_same_vector_alone_and_in_a_batch(build: Build, name: str) -> None:
    model = build(name)
    backend = on(GPU, model)
    sequences = texts(model, 40, 200)
    alone = np.concatenate([backend.forward([sequence]) for sequence in sequences])
    assert near(model, alone, backend.forward(sequences)) is None
    assert near(model, alone, backend.forward(sequences[::-1])[::-1]) is None


def test_an_exact_pass_is_float32_and_keeps_captured_passes(build: Build) -> None:
    model = build("multilingual-e5-small")
    backend, sequences = on(GPU, model), texts(model, 5, 60)
    before = backend.forward(sequences)
    exact, expected = backend.forward_exact(sequences), on(CPU, model).forward(sequences)
    np.testing.assert_allclose(exact, expected, atol=5e-3)  # the weights were rounded to float16
    np.testing.assert_array_equal(backend.forward(sequences), before)


def test_passes_succeed_after_one_is_out_of_memory(build: Build) -> None:
    model = build("multilingual-e5-small")
    backend, sequences = on(GPU, model), texts(model, 5, 60)
    before = backend.forward(sequences)
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + 2**20) / total)
    try:
        with pytest.raises(OutOfMemoryError):
            backend.forward(texts(model, 4000, 500))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    np.testing.assert_array_equal(backend.forward(sequences), before)


def test_two_models_compute_at_the_same_time(build: Build) -> None:
    models = [build(name) for name in ("multilingual-e5-small", "ruri-v3-30m", "bge-reranker-v2-m3")]
    backends = [on(GPU, model) for model in models]
    work = [(index, texts(models[index], 1 + number % 9, 200, number)) for number in range(90) for index in range(3)]
    expected = [backends[index].forward(sequences) for index, sequences in work]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda each: backends[each[0]].forward(each[1]), work))
    for before, after in zip(expected, found, strict=True):
        np.testing.assert_array_equal(after, before)


def test_a_model_loads_while_others_compute(build: Build) -> None:
    """Passes are captured while other threads use the device."""
    model, other = build("multilingual-e5-small"), build("ruri-v3-30m")
    backend, sequences = on(GPU, model), texts(model, 5, 60)
    expected = backend.forward(sequences)
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(on, GPU, other)
        while not loading.done():
            np.testing.assert_array_equal(backend.forward(sequences), expected)
        assert not loading.result().padding_cost


def test_close_releases_the_memory(build: Build) -> None:
    model = build("multilingual-e5-small")
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    backend = on(GPU, model)
    assert 0 < backend.memory_bytes < 2 * 2**30
    backend.forward(texts(model, 100, 500))
    assert torch.cuda.memory_reserved() > before
    backend.close()
    assert torch.cuda.memory_reserved() <= before
