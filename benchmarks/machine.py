"""Facts about the machine of a measurement."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

INTERESTING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
PACKAGES = ("bentoml", "torch", "transformers", "openvino", "tokenizers", "numpy", "uvloop")


def _cpuinfo(key: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def cpu_flags() -> list[str]:
    """The processor's flags that affect the speed of models."""
    present = set(_cpuinfo("flags").split())
    return [flag for flag in INTERESTING_FLAGS if flag in present]


def has_native_bfloat16() -> bool:
    """Whether the processor has bfloat16 instructions."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(cpu_flags())


def precision() -> str:
    """Precision of the fastest engines on this processor: bf16 or f32."""
    return "bf16" if has_native_bfloat16() else "f32"


def gpu() -> str:
    """The names of NVIDIA GPUs; '' if there are none."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def facts() -> dict[str, object]:
    """Processor, cores, memory, versions and the date."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "flags": cpu_flags(),
        "native_bfloat16": has_native_bfloat16(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": gpu(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def short_name() -> str:
    """Processor and cores for file names, such as `amd-epyc-2-cores`."""
    words = "".join(letter if letter.isalnum() else " " for letter in str(facts()["cpu"]).lower()).split()
    kept = [word for word in words if word not in ("processor", "cpu", "r", "tm", "core", "with")][:3]
    return "-".join([*kept, f"{facts()['cores']}-cores"])
