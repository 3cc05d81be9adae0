"""Which accelerator, which data type, how many threads."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from runners.control_groups import cpu_limit, memory_limit
from settings import Settings

DType = Literal["float32", "bfloat16", "float16"]
RequestedDType = DType | Literal["int8"]
Platform = Literal["cuda", "rocm", "cpu"]


class DeviceError(RuntimeError):
    """The settings require hardware that is not available."""


_INT8_IN_TORCH = "DTYPE=int8 needs OpenVINO. Set BACKEND=auto, or choose another DTYPE."
_INT8_ON_GPU = "DTYPE=int8 needs a CPU. Set DEVICE=cpu, or choose another DTYPE."
_GPU_LIBRARIES = ("libtorch_cuda.so", "libtorch_hip.so")
_NO_GPU = "DEVICE=cuda, but torch sees no GPU. Check the driver and the installed torch, or set DEVICE=cpu."


@dataclass(frozen=True)
class Device:
    """The device that runs the models of this process."""

    platform: Platform
    torch_name: str
    dtype: DType
    threads: int
    requested_dtype: RequestedDType | None = None
    """The setting DTYPE; None for auto."""


def require(settings: Settings) -> None:
    """DeviceError if `detect` would raise one. A child process looks for GPUs, as this one must not import torch."""
    if settings.device == "cuda" or (settings.device == "auto" and settings.dtype == "int8"):
        question = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)"
        answer = subprocess.run([sys.executable, "-c", question], check=False, capture_output=True)  # noqa: S603
        _refuse(settings, gpu=answer.returncode != 3)
    else:
        _refuse(settings, gpu=False)


def _refuse(settings: Settings, *, gpu: bool) -> None:
    if settings.device == "cuda" and not gpu:
        raise DeviceError(_NO_GPU)
    if settings.dtype == "int8" and settings.device != "cpu" and gpu:
        raise DeviceError(_INT8_ON_GPU)
    if settings.dtype == "int8" and settings.backend == "torch":
        raise DeviceError(_INT8_IN_TORCH)


def detect(settings: Settings, index: int = 0) -> Device:
    """The device of this process: the CPU, or the GPU with this index.

    DeviceError if DEVICE is not available or does not support DTYPE.
    """
    available = _gpu_is_available(settings)
    _refuse(settings, gpu=available)
    requested = None if settings.dtype == "auto" else settings.dtype
    dtype = None if requested == "int8" else requested
    if not available:
        threads = settings.cpu_threads or usable_cores()
        return Device("cpu", "cpu", dtype or "float32", threads, requested)
    import torch

    platform: Platform = "rocm" if torch.version.hip else "cuda"
    half: DType = "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return Device(platform, f"cuda:{index}", dtype or half, 1, requested)


def count(settings: Settings) -> int:
    """Number of devices that the service uses: all GPUs that torch finds, or one CPU."""
    if not _gpu_is_available(settings):
        return 1
    import torch

    return torch.cuda.device_count()


def _gpu_is_available(settings: Settings) -> bool:
    """Whether DEVICE allows a GPU and torch finds one.

    A CPU build of torch is not imported for this: that takes seconds, and OpenVINO does not need torch.
    """
    if settings.device == "cpu" or not _is_built_for_gpus():
        return False
    import torch

    return torch.cuda.is_available()


def _is_built_for_gpus() -> bool:
    """Whether the installed torch has CUDA's or ROCm's library."""
    spec = importlib.util.find_spec("torch")
    libraries = Path(str(spec and spec.origin)).parent / "lib"
    return any((libraries / name).exists() for name in _GPU_LIBRARIES)


_TRAINED_IN_BFLOAT16 = ("Qwen", "Mistral", "Gemma", "NVEmbed")
"""Language models whose activations may exceed float16's range."""


def for_model(device: Device, architecture: str) -> Device:
    """The device with the best data type for the model, unless DTYPE sets one.

    float16 has three bits of precision more than bfloat16 at the same speed: on an H100 the smallest cosine to float32
    was 0.999999 against 0.99994 (BERT-base). If an encoder exceeds its range, the engine computes in float32.
    """
    if device.platform == "cpu" or device.requested_dtype is not None or architecture.startswith(_TRAINED_IN_BFLOAT16):
        return device
    return replace(device, dtype="float16")


def resource_hint(settings: Settings) -> dict[str, float]:
    """The resources that BentoML reserves for the service: all NVIDIA GPUs, or else the CPU's cores.

    BentoML counts GPUs through NVML and sets CUDA_VISIBLE_DEVICES for its workers. It does not support AMD's; on ROCm,
    torch finds the GPUs without it.
    """
    gpus = 0 if settings.device == "cpu" or settings.cuda_visible_devices == "-1" else _nvidia_gpus()
    return {"gpu": float(gpus)} if gpus else {"cpu": float(usable_cores())}


def _nvidia_gpus() -> int:
    import pynvml

    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetCount())
    except pynvml.NVMLError:
        return 0


def memory_bytes(device: Device) -> int:
    """Memory of the device: the GPU's, or the machine's within the limits of its control groups."""
    if device.platform != "cpu":
        import torch

        return int(torch.cuda.get_device_properties(device.torch_name).total_memory)
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(installed, memory_limit() or installed)


def return_memory() -> None:
    """Return freed heap pages to the system; the C library would keep them."""
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def usable_cores() -> int:
    """Cores that this process may use, at least one."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, cpu_limit() or cores))
