"""Of the ways to compute a model, the usual one serves it unless another one was measured to be clearly faster."""

from __future__ import annotations

from pathlib import Path

import pytest

from runners.backends import openvino, speed
from runners.backends.compiled_cache import processor
from runners.backends.openvino import Report, export_folder, write_report
from runners.backends.speed import (
    SMALLEST_PARAMETERS,
    BackendConfig,
    MeasuredSpeeds,
    candidates,
    choose,
    fastest,
    needs_measuring,
    speeds_file,
    stream_counts,
    write_speeds,
)
from runners.devices import Device, RequestedDType
from tests.unit.fakes import facts

GOOD: Report = {"f32": None, "bf16": None}
ONLY_F32: Report = {"f32": None, "bf16": "logits differ"}
REFUSED: Report = {"f32": "OpenVINO cannot convert it"}
FACTS = facts().model_copy(update={"parameters": SMALLEST_PARAMETERS})


@pytest.fixture(autouse=True)
def processor_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "precisions", lambda: ["f32", "bf16"])


def cpu(dtype: RequestedDType | None = None, threads: int = 2) -> Device:
    return Device("cpu", "cpu", "float32", threads, dtype)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model with an export that passed the gate."""
    target = export_folder(tmp_path)
    target.mkdir(parents=True)
    write_report(target, GOOD)
    return tmp_path


def measured(folder: Path, device: Device, **tokens_per_s: float) -> None:
    by_name = {name.replace("_", " "): value for name, value in tokens_per_s.items()}
    write_speeds(folder, "float16", MeasuredSpeeds(processor="any", threads=device.threads, tokens_per_s=by_name))


@pytest.mark.parametrize(
    ("report", "device", "torch", "names"),
    [
        (GOOD, cpu(), True, ["openvino bf16", "openvino f32", "torch f32"]),
        (GOOD, cpu(), False, ["openvino bf16", "openvino f32"]),
        (ONLY_F32, cpu(), True, ["openvino f32", "torch f32"]),
        (REFUSED, cpu(), True, []),
        (GOOD, cpu("float32"), True, ["openvino f32", "torch f32"]),
        (GOOD, cpu("bfloat16"), True, ["openvino bf16"]),
        (ONLY_F32, cpu("bfloat16"), True, ["openvino f32"]),
        (GOOD, cpu("int8"), True, ["openvino bf16", "openvino f32"]),
        (ONLY_F32, cpu(threads=16), False, ["openvino f32", "openvino f32, 2 streams", "openvino f32, 4 streams"]),
    ],
)
def test_candidates_passed_the_gate_and_suit_the_settings(
    report: Report, device: Device, torch: bool, names: list[str]
) -> None:
    assert [config.name for config in candidates(report, device, torch=torch)] == names


@pytest.mark.parametrize(("threads", "counts"), [(1, [1]), (7, [1]), (8, [1, 2]), (64, [1, 2, 4, 8, 16])])
def test_a_stream_has_at_least_four_cores(threads: int, counts: list[int]) -> None:
    assert stream_counts(threads) == counts


USUAL, OTHER, THIRD = (BackendConfig("openvino", "bf16", streams) for streams in (1, 2, 4))


@pytest.mark.parametrize(
    ("speeds", "chosen"),
    [
        ({}, USUAL),
        ({OTHER.name: 500.0}, USUAL),  # nothing to compare it with
        ({USUAL.name: 100.0, OTHER.name: 124.0}, USUAL),
        ({USUAL.name: 100.0, OTHER.name: 125.0}, OTHER),
        ({USUAL.name: 100.0, OTHER.name: 150.0, THIRD.name: 180.0}, THIRD),
    ],
)
def test_another_way_must_be_clearly_faster(speeds: dict[str, float], chosen: BackendConfig) -> None:
    assert fastest([USUAL, OTHER, THIRD], speeds) == chosen


def test_the_measured_speeds_decide(folder: Path) -> None:
    usual = (export_folder(folder), BackendConfig("openvino", "bf16"))
    assert choose(folder, cpu(), torch=True) == usual
    measured(folder, cpu(), openvino_bf16=100, openvino_f32=50, torch_f32=200)
    assert choose(folder, cpu(), torch=True) == (export_folder(folder), BackendConfig("torch", "f32"))
    assert choose(folder, cpu(), torch=False) == usual  # BACKEND=openvino
    assert choose(folder, cpu(threads=4), torch=True) == usual  # CPU_THREADS: not measured with so many
    speeds_file(folder, "float16", 2).write_text("damaged", encoding="utf-8")
    assert choose(folder, cpu(), torch=True) == usual


def test_without_an_export_there_is_no_choice(tmp_path: Path) -> None:
    assert choose(tmp_path, cpu(), torch=True) is None
    assert not needs_measuring(tmp_path, FACTS, cpu(), torch=True)


def test_a_model_is_measured_once_for_each_processor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert needs_measuring(folder, FACTS, cpu(), torch=True)
    measured(folder, cpu())  # a measurement that did not end
    assert not needs_measuring(folder, FACTS, cpu(), torch=True)
    assert needs_measuring(folder, FACTS, cpu(threads=4), torch=True)
    monkeypatch.setattr(speed, "processor", lambda: f"{processor()} II")
    assert needs_measuring(folder, FACTS, cpu(), torch=True)


def test_what_need_not_or_cannot_be_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = FACTS.model_copy(update={"parameters": SMALLEST_PARAMETERS - 1})
    assert not needs_measuring(folder, small, cpu(), torch=True)
    assert not needs_measuring(folder, FACTS, cpu("bfloat16"), torch=True)  # the only candidate
    monkeypatch.setattr("os.access", lambda *_: False)  # a model that is part of an image
    assert not needs_measuring(folder, FACTS, cpu(), torch=True)
