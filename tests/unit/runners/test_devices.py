"""The device, the data type and the threads that a worker gets, on machines that this one is not."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from runners import control_groups, devices
from runners.devices import (
    Device,
    DeviceError,
    count,
    detect,
    for_model,
    memory_bytes,
    require,
    resource_hint,
    usable_cores,
)
from settings import Settings, load_settings

GiB = 2**30
CPU = Device("cpu", "cpu", "float32", 2)

Machine = Callable[..., None]


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """`gpus(2, bf16=False, hip="6.2")`: what torch sees."""

    def see(count: int, *, bf16: bool = True, hip: str | None = None) -> None:
        def is_bf16_supported(including_emulation: bool = True) -> bool:
            return bf16 or including_emulation  # as torch: an old GPU emulates bfloat16, slowly

        monkeypatch.setattr(devices, "_is_built_for_gpus", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
        monkeypatch.setattr(torch.version, "hip", hip)

    return see


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """`host(cores=8, memory=..., cpu="...", limit="...")`: its cores, its memory, and its control group's files."""

    def set_up(*, cores: int = 8, memory: int = 16 * GiB, cpu: str | None = None, limit: str | None = None) -> None:
        for name, content in (("cpu.max", cpu), ("memory.max", limit)):
            if content is not None:
                (tmp_path / name).write_text(content)
        (tmp_path / "membership").write_text("0::/\n")
        page = os.sysconf("SC_PAGE_SIZE")
        monkeypatch.setattr(control_groups, "MOUNT", tmp_path)
        monkeypatch.setattr(control_groups, "MEMBERSHIP", tmp_path / "membership")
        monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(cores)))
        monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": page, "SC_PHYS_PAGES": memory // page}.__getitem__)

    return set_up


NVIDIA, OLD, AMD = {"count": 1}, {"count": 1, "bf16": False}, {"count": 1, "hip": "6.2.41133"}
NONE = {"count": 0}
DETECTED = {
    "no GPU": (NONE, {}, Device("cpu", "cpu", "float32", 6)),
    "an NVIDIA GPU": (NVIDIA, {}, Device("cuda", "cuda:0", "bfloat16", 1)),
    "an AMD GPU, which torch calls cuda": (AMD, {}, Device("rocm", "cuda:0", "bfloat16", 1)),
    "a GPU that is left alone": (NVIDIA, {"device": "cpu"}, Device("cpu", "cpu", "float32", 6)),
    "a GPU that is asked for": (NVIDIA, {"device": "cuda"}, Device("cuda", "cuda:0", "bfloat16", 1)),
    "a GPU that only emulates bfloat16": (OLD, {}, Device("cuda", "cuda:0", "float16", 1)),
    "threads": (NONE, {"cpu_threads": 3, "workers": 4}, Device("cpu", "cpu", "float32", 3)),
    "int8": (NVIDIA, {"device": "cpu", "dtype": "int8"}, Device("cpu", "cpu", "float32", 6, "int8")),
    "int8 by name": (NONE, {"dtype": "int8", "backend": "openvino"}, Device("cpu", "cpu", "float32", 6, "int8")),
    "float16": (NVIDIA, {"dtype": "float16"}, Device("cuda", "cuda:0", "float16", 1, "float16")),
    "bfloat16 without a GPU": (NONE, {"dtype": "bfloat16"}, Device("cpu", "cpu", "bfloat16", 6, "bfloat16")),
}


@pytest.mark.parametrize(("seen", "settings", "device"), DETECTED.values(), ids=DETECTED)
def test_the_device_follows_from_the_machine_and_the_settings(
    gpus: Machine, host: Machine, seen: dict[str, Any], settings: dict[str, Any], device: Device
) -> None:
    gpus(**seen)
    host(cores=6)
    assert detect(Settings.model_validate(settings)) == device


@pytest.mark.parametrize(
    ("seen", "settings", "problem"),
    [
        (NONE, {"device": "cuda"}, "DEVICE=cuda.*no GPU.*DEVICE=cpu"),
        (NVIDIA, {"dtype": "int8"}, "DTYPE=int8 needs a CPU.*DEVICE=cpu"),
        (NONE, {"dtype": "int8", "backend": "torch"}, "DTYPE=int8 needs OpenVINO.*BACKEND=auto"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(
    gpus: Machine, seen: dict[str, Any], settings: dict[str, Any], problem: str
) -> None:
    gpus(**seen)
    with pytest.raises(DeviceError, match=problem):
        detect(Settings.model_validate(settings))


def test_all_gpus_are_devices(gpus: Machine) -> None:
    gpus(2)
    assert [detect(Settings(), index).torch_name for index in range(count(Settings()))] == ["cuda:0", "cuda:1"]
    assert count(Settings(device="cpu")) == 1
    gpus(0)
    assert count(Settings()) == 1


@pytest.mark.parametrize(
    ("cpu", "cores"),
    [
        (None, 8),
        ("max 100000", 8),
        ("400000 100000", 4),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("1600000 100000", 8),
        ("", 8),
        ("nonsense here now", 8),
    ],
)
def test_cores_are_those_of_the_machine_within_the_containers_limit(host: Machine, cpu: str | None, cores: int) -> None:
    host(cores=8, cpu=cpu)
    assert usable_cores() == cores


@pytest.mark.parametrize(
    ("limit", "expected"),
    [(None, 16 * GiB), ("max\n", 16 * GiB), (f"{4 * GiB}\n", 4 * GiB), (f"{64 * GiB}", 16 * GiB), ("", 16 * GiB)],
)
def test_memory_of_a_cpu_is_the_machines_within_the_containers_limit(
    host: Machine, limit: str | None, expected: int
) -> None:
    host(limit=limit)
    assert memory_bytes(CPU) == expected


@pytest.mark.parametrize("platform", ["cuda", "rocm"])
def test_memory_of_a_gpu_is_its_own(monkeypatch: pytest.MonkeyPatch, host: Machine, platform: Any) -> None:
    host(limit=str(GiB))
    totals = {"cuda:0": 24 * GiB, "cuda:1": 80 * GiB}
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda name: SimpleNamespace(total_memory=totals[str(name)])
    )
    assert memory_bytes(Device(platform, "cuda:1", "float16", 1)) == 80 * GiB


@pytest.mark.parametrize(
    ("gpus", "environ", "hint"),
    [
        (2, {}, {"gpu": 2.0}),
        (2, {"CUDA_VISIBLE_DEVICES": "-1"}, {"cpu": float(usable_cores())}),
        (2, {"DEVICE": "cpu"}, {"cpu": float(usable_cores())}),
        (0, {}, {"cpu": float(usable_cores())}),
    ],
)
def test_the_resource_hint_follows_the_hardware(
    monkeypatch: pytest.MonkeyPatch, gpus: int, environ: dict[str, str], hint: dict[str, float]
) -> None:
    monkeypatch.setattr("runners.devices._nvidia_gpus", lambda: gpus)
    assert resource_hint(load_settings(environ)) == hint


GPU = Device("cuda", "cuda:0", "bfloat16", 1)
ASKED = Device("cuda", "cuda:0", "bfloat16", 1, requested_dtype="bfloat16")


@pytest.mark.parametrize(
    ("device", "architecture", "dtype"),
    [
        (GPU, "BertModel", "float16"),
        (GPU, "XLMRobertaForSequenceClassification", "float16"),
        (GPU, "ModernBertModel", "float16"),
        (GPU, "Qwen3ForCausalLM", "bfloat16"),
        (GPU, "Gemma3TextModel", "bfloat16"),
        (GPU, "NVEmbedModel", "bfloat16"),
        (ASKED, "BertModel", "bfloat16"),
        (CPU, "BertModel", "float32"),
    ],
)
def test_encoders_run_in_float16_on_a_gpu(device: Device, architecture: str, dtype: str) -> None:
    assert for_model(device, architecture).dtype == dtype


@pytest.mark.parametrize(
    ("settings", "gpu", "problem"),
    [
        ({"dtype": "int8"}, True, "needs a CPU"),
        ({"dtype": "int8", "device": "cuda"}, True, "needs a CPU"),
        ({"dtype": "int8", "device": "cuda"}, False, "sees no GPU"),
        ({"dtype": "int8", "backend": "torch", "device": "cpu"}, True, "needs OpenVINO"),
        ({"dtype": "int8"}, False, None),
        ({"dtype": "int8", "device": "cpu"}, True, None),
        ({"dtype": "bfloat16", "backend": "torch"}, True, None),
    ],
)
def test_the_start_fails_where_workers_would(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], gpu: bool, problem: str | None
) -> None:
    answer = SimpleNamespace(returncode=0 if gpu else 3)
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: answer)
    with pytest.raises(DeviceError, match=problem) if problem else contextlib.nullcontext():
        require(Settings.model_validate(settings))
