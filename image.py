"""The container image of one platform: its packages, environment variables and user.

`bentoml build --arg platform=cuda` (or `rocm`, `cpu`) selects the platform; the default is that of this machine.
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

from settings import Settings

ROOT = Path(__file__).parent
USER = "bentoml"
CODE = "/home/bentoml/bento/src"
"""Folder in which BentoML's Dockerfile places the files of bentofile.yaml."""
DATA = "/data"
"""BENTOML_HOME in the image: the model store. The service writes only here and to /tmp."""
WRITTEN = ("models", "imports", "bentos", "envs", "tmp", "prometheus_multiproc_dir")
"""Folders of BENTOML_HOME, created in the image so that an image with models can run with a read-only /data."""

TORCH_BACKENDS = {"cuda": "cu130", "rocm": "rocm7.2", "cpu": "cpu"}
"""UV_TORCH_BACKEND: the stable builds of torch 2.13. CUDA 13.0 needs driver 580 or newer; cu126 supports older drivers
(`--opt build-arg=UV_TORCH_BACKEND=cu126`)."""
NOT_NEEDED = {"cuda": {"uv", "openvino"}, "rocm": {"uv", "openvino"}, "cpu": {"uv"}}
"""Packages of requirements.txt to leave out: BentoML's Dockerfile installs uv itself; OpenVINO is for CPUs only."""


class Arguments(BaseModel, extra="forbid"):
    """Arguments of `bentoml build --arg`."""

    platform: Literal["cuda", "rocm", "cpu"] | None = None


arguments = bentoml.use_arguments(Arguments)


def environment(platform: str) -> dict[str, str]:
    """Environment variables of the image, at build time and at run time."""
    always = {
        "BENTOML_HOME": DATA,
        "BENTOML_DO_NOT_TRACK": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "UV_TORCH_BACKEND": TORCH_BACKENDS[platform],
        "UV_CONSTRAINT": f"{CODE}/constraints.txt",
    }
    return always if platform == "cpu" else always | {"BACKEND": "torch"}


def requirements(platform: str) -> list[str]:
    """The lines of requirements.txt that the platform needs. constraints.txt pins all versions."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()]
    return [line for line in lines if line and re.split(r"[^\w.-]", line)[0] not in NOT_NEEDED[platform]]


def instructions() -> list[str]:
    """Additional instructions of the Dockerfile. BentoML's template writes one RUN; the others follow a line feed."""
    port = Settings.model_fields["port"].default
    folders = " ".join(f"{DATA}/{name}" for name in WRITTEN)
    health = f'HEALTHCHECK --interval=30s --timeout=10s --start-period=15m CMD ["{CODE}/scripts/healthcheck"]'
    return [f"mkdir -p {folders} && chown -R {USER}:{USER} {DATA}\nEXPOSE {port}\n{health}"]


def wrap_entrypoint(folder: Path) -> None:
    """Replace BentoML's entrypoint by ours, which calls it: BentoML writes the ENTRYPOINT of the Dockerfile."""
    (folder / "entrypoint.sh").rename(folder / "bentoml-entrypoint.sh")
    shutil.copy(ROOT / "docker" / "entrypoint.sh", folder)


def detected() -> str:
    """The platform of this machine, from scripts/detect_hardware."""
    command = [str(ROOT / "scripts/detect_hardware")]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0]  # noqa: S603


class PlatformImage(Image):
    """An image whose platform is determined when it is built, not when `bentoml serve` imports this file."""

    def __init__(self, **fields: Any) -> None:
        """BentoML installs no compilers for a distribution that it does not know; wheels and Python need none."""
        super().__init__(**{"base_image": "python:3.11-slim", "distro": "slim", "lock_python_packages": False} | fields)

    def freeze(self, bento_fs: Path, envs: list[Any], platform_: str | None = None) -> Any:
        """Add the platform's packages and variables; `envs` is the list that BentoML stores with the Bento."""
        platform = arguments.platform or detected()
        envs += [BentoEnvSchema(name=name, value=value) for name, value in environment(platform).items()]
        self.python_packages(*requirements(platform))
        self.build_include("constraints.txt")
        self.post_commands += instructions()
        info = super().freeze(bento_fs, envs, platform_)
        wrap_entrypoint(bento_fs / "env" / "docker")
        return info
