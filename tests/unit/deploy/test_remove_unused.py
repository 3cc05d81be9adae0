"""docker/remove_unused.sh, in a small copy of the packages' folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.unit.deploy.manifests import DOCKER

NEEDED = (
    "torch/bin/torch_shm_manager",
    "torch/lib/librocblas.so",
    "torch/lib/rocblas/library/TensileLibrary_gfx942.dat",
    "torch/share/libdrm/amdgpu.ids",
    "torch/share/miopen/db/gfx942.kdb",
    "triton/backends/nvidia/include/cuda.h",
    "nvidia/cu13/include/cuda_fp16.h",
    "numpy/_core/tests/_natype.py",
    "transformers/models/bert/modeling_bert.py",
    "openvino/libs/libopenvino_intel_cpu_plugin.so",
    "openvino/libs/libopenvino_pytorch_frontend.so.2640",
    "peft/tuners/lora/model.py",
)
UNUSED = (
    "torch/bin/protoc",
    "torch/include/torch/all.h",
    "torch/share/cmake/Torch/TorchConfig.cmake",
    "torch/_C/__init__.pyi",
    "sklearn/tests/test_base.py",
    "scipy/linalg/cython_blas.pxd",
    "transformers/models/bert/modular_bert.py",
    "openvino/libs/libopenvino_intel_gpu_plugin.so",
    "openvino/libs/libopenvino_onnx_frontend.so.2640",
)


def program(path: Path) -> None:
    """A program that does nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\ncat > /dev/null\n", encoding="utf-8")
    path.chmod(0o755)


def test_what_gpus_and_the_service_need_stays(tmp_path: Path) -> None:
    packages = tmp_path / "lib/python3.11/site-packages"
    for name in NEEDED + UNUSED:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    (packages / "torch/lib/libtorch_cpu.so").touch()
    (packages / "torch/lib/libtorch_python.so").touch()
    program(tmp_path / "bin/python")
    program(tmp_path / "programs/strip")
    environment = {**os.environ, "PATH": f"{tmp_path / 'programs'}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(DOCKER / "remove_unused.sh"), str(packages)]
    subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=True)
    assert [name for name in NEEDED if not (packages / name).exists()] == []
    assert [name for name in UNUSED if (packages / name).exists()] == []
