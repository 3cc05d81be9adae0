"""In which data type a model is computed is known before it is loaded, from what was exported; a load that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.store import StoredModel
from runners import loading
from runners.backends import openvino
from runners.backends.openvino import Report, export_folder, weights_for, write_report
from runners.devices import Device, DType
from runners.loading import computing_dtype
from settings import Settings
from tests.unit.fakes import FakeBackend, facts, spec

CPU = Device("cpu", "cpu", "float32", 1)
GOOD: Report = {"f32": None, "bf16": None}


def stored_with(folder: Path, report: Report | None, dtype: DType | None = None) -> StoredModel:
    """A model whose export for this DTYPE has this report."""
    if report is not None:
        target = export_folder(folder, weights_for(dtype))
        target.mkdir(parents=True)
        write_report(target, report)
    return StoredModel("acme:1", folder, facts())


@pytest.mark.parametrize(
    ("report", "dtype", "expected"),
    [
        (GOOD, None, "bfloat16"),
        (GOOD, "float32", "float32"),
        (GOOD, "bfloat16", "bfloat16"),
        ({"f32": None, "bf16": "logits differ"}, None, "float32"),
        ({"f32": "OpenVINO cannot convert it"}, None, "float32"),
        (None, None, "float32"),
    ],
)
def test_auto_on_a_cpu_is_what_passed_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, report: Report | None, dtype: DType | None, expected: str
) -> None:
    monkeypatch.setattr(openvino, "precisions", lambda: ["f32", "bf16"])
    device = Device("cpu", "cpu", dtype or "float32", 1, dtype)
    assert computing_dtype(stored_with(tmp_path, report, dtype), device, Settings()) == expected


def test_without_bfloat16_in_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "precisions", lambda: ["f32"])
    assert computing_dtype(stored_with(tmp_path, GOOD), CPU, Settings()) == "float32"


def test_torch_computes_in_what_suits_the_device(tmp_path: Path) -> None:
    stored = stored_with(tmp_path, GOOD)
    assert computing_dtype(stored, CPU, Settings(backend="torch")) == "float32"
    assert computing_dtype(stored, Device("cuda", "cuda:0", "bfloat16", 1), Settings()) == "float16"
    asked = Device("cuda", "cuda:0", "bfloat16", 1, "bfloat16")
    assert computing_dtype(stored, asked, Settings()) == "bfloat16"


def test_a_model_without_a_readable_tokenizer_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    backend = FakeBackend()
    monkeypatch.setattr(loading, "load_backend", lambda *_: backend)
    monkeypatch.setattr(loading, "load_tokenizer", fail)
    with pytest.raises(RuntimeError):
        loading.load_model(spec(), stored_with(tmp_path, None), CPU, Settings())
    assert backend.closed == 1
