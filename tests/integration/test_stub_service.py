"""The stub engine of the benchmarks, which finds the service's engine by its name."""

from __future__ import annotations

import runpy

import pytest

from runners import loading
from runners.remote import peer
from settings import Settings
from tests.integration.exports import DEVICE, Exported
from tests.serving import ROOT


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_models_are_computed_by_the_stub(monkeypatch: pytest.MonkeyPatch, exported: Exported, backend: str) -> None:
    model, _ = exported("multilingual-e5-small")  # verified with the real engine
    monkeypatch.setattr(loading, "load_backend", loading.load_backend)  # restored after the test
    monkeypatch.setattr(peer, "ENGINE", peer.ENGINE)
    runpy.run_path(str(ROOT / "benchmarks" / "stub_service.py"))
    loaded = loading.load_model(model.spec, model.stored, DEVICE, Settings(backend=backend), measure=False)
    assert loaded.backend == "stub"
    assert loaded.compute is not None
    loaded.compute.close()
