"""The container image of one platform: what is installed, which variables are set, who runs it.

`bentoml build --arg platform=cuda`, `rocm` or `cpu` chooses; without it, the platform of this machine.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Literal

import bentoml
from bentoml._internal.bento.build_config import BentoEnvSchema
from bentoml.images import Image
from pydantic import BaseModel

ROOT = Path(__file__).parent
USER = "bentoml"
CODE = "/home/bentoml/bento/src"
"""Where BentoML's Dockerfile puts what bentofile.yaml includes."""
DATA = "/data"
"""BENTOML_HOME in the image: the model store, and the only folder beside /tmp that is written to."""
WRITTEN = ("models", "imports", "bentos", "envs", "tmp", "prometheus_multiproc_dir")
"""Folders of BENTOML_HOME. They are there from the start, so that it need not be writable where models are baked in."""
DEFAULT_PORT = 7987

TORCH_BACKENDS = {"cuda": "cu130", "rocm": "rocm7.2", "cpu": "cpu"}
"""UV_TORCH_BACKEND: the builds of torch 2.13 that PyTorch calls stable. CUDA 13.0 needs driver 580 or newer; cu126
serves older ones (`--opt build-arg=UV_TORCH_BACKEND=cu126`)."""
NOT_NEEDED = {"cuda": {"uv", "openvino"}, "rocm": {"uv", "openvino"}, "cpu": {"uv"}}
"""Of requirements.txt: uv builds images and BentoML's Dockerfile brings its own; OpenVINO is the CPU's engine."""


class Arguments(BaseModel, extra="forbid"):
    """What follows `bentoml build --arg`."""

    platform: Literal["cuda", "rocm", "cpu"] | None = None


arguments = bentoml.use_arguments(Arguments)


def environment(platform: str) -> dict[str, str]:
    """Variables of the image, while it is built and while it runs."""
    always = {
        "BENTOML_HOME": DATA,
        "BENTOML_DO_NOT_TRACK": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "UV_TORCH_BACKEND": TORCH_BACKENDS[platform],
        "UV_CONSTRAINT": f"{CODE}/constraints.txt",
    }
    return always if platform == "cpu" else always | {"BACKEND": "torch"}


def requirements(platform: str) -> list[str]:
    """The lines of requirements.txt that the platform needs; constraints.txt pins them and what they need."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()]
    return [line for line in lines if line and re.split(r"[^\w.-]", line)[0] not in NOT_NEEDED[platform]]


def instructions() -> list[str]:
    """What the Dockerfile has beyond BentoML's, whose template knows RUN alone: a line feed starts another one."""
    folders = " ".join(f"{DATA}/{name}" for name in WRITTEN)
    health = f'HEALTHCHECK --interval=30s --timeout=10s --start-period=15m CMD ["{CODE}/scripts/healthcheck"]'
    return [f"mkdir -p {folders} && chown -R {USER}:{USER} {DATA}\nEXPOSE {DEFAULT_PORT}\n{health}"]


def wrap_entrypoint(folder: Path) -> None:
    """Put our entrypoint in the place of BentoML's, which it calls: a Dockerfile's ENTRYPOINT is BentoML's to write."""
    (folder / "entrypoint.sh").rename(folder / "bentoml-entrypoint.sh")
    shutil.copy(ROOT / "docker" / "entrypoint.sh", folder)


def detected() -> str:
    """The platform of this machine, as scripts/detect_hardware prints it."""
    command = [str(ROOT / "scripts/detect_hardware")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]  # noqa: S603


class PlatformImage(Image):
    """An image that learns its platform when it is built: `bentoml serve` imports this file too, and has no need to."""

    def __init__(self, **fields: Any) -> None:
        """A distribution that BentoML does not know gets no compilers: all that is installed is wheels and Python."""
        super().__init__(**{"base_image": "python:3.11-slim", "distro": "slim", "lock_python_packages": False} | fields)

    def freeze(self, bento_fs: Path, envs: list[Any], platform_: str | None = None) -> Any:
        """Fill in what the platform needs; `envs` is the list that BentoML keeps with the Bento."""
        platform = arguments.platform or detected()
        envs += [BentoEnvSchema(name=name, value=value) for name, value in environment(platform).items()]
        self.python_packages(*requirements(platform))
        self.build_include("constraints.txt")
        self.post_commands += instructions()
        info = super().freeze(bento_fs, envs, platform_)
        wrap_entrypoint(bento_fs / "env" / "docker")
        return info
