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
USER, USER_ID = "bentoml", 1034
"""As in BentoML's Dockerfile."""
BENTO = "/home/bentoml/bento"
CODE = f"{BENTO}/src"
"""Folder in which BentoML's Dockerfile places the files of bentofile.yaml."""
PACKAGES = "/app/.venv"
"""Where it installs the packages."""
DATA = "/data"
"""BENTOML_HOME in the image: the model store. The service writes only here and to /tmp."""
WRITTEN = ("models", "imports", "bentos", "envs", "tmp", "prometheus_multiproc_dir")
"""Folders of BENTOML_HOME, created in the image so that an image with models can run with a read-only /data."""

TORCH_BACKENDS = {"cuda": "cu130", "rocm": "rocm7.2", "cpu": "cpu"}
"""UV_TORCH_BACKEND: the stable builds of torch 2.13. CUDA 13.0 needs driver 580 or newer; cu126 supports older drivers
(`--opt build-arg=UV_TORCH_BACKEND=cu126`). Both cu126 and rocm7.2 need packages that constraints.txt does not have, in
exact versions that torch itself names."""
RUNTIME = {
    "LANG": "C.UTF-8",
    "PYTHONUNBUFFERED": "1",
    "BENTO_PATH": BENTO,
    "BENTOML_CONTAINERIZED": "true",
    "VIRTUAL_ENV": PACKAGES,
    "PATH": f"{PACKAGES}/bin:$PATH",
}
"""What BentoML's Dockerfile sets for the running container."""
REMOVE_UNUSED = "remove_unused.sh"
TARGET = "service"
"""The stage to build: `bentoml containerize --opt target=service`. What BentoML's template writes after it gives the
code to the user, and declares ports on which nothing listens."""
NOT_NEEDED = {"cuda": {"uv", "openvino"}, "rocm": {"uv", "openvino"}, "cpu": {"uv"}}
"""Packages of requirements.txt to leave out: only the stage that installs the others needs uv; OpenVINO is for CPUs."""


class Arguments(BaseModel, extra="forbid"):
    """Arguments of `bentoml build --arg`."""

    platform: Literal["cuda", "rocm", "cpu"] | None = None
    torch_index: Literal["platform", "default"] = "platform"
    """Where torch comes from: PyTorch's index of the platform, or the default index, for builders that cannot reach
    it."""


arguments = bentoml.use_arguments(Arguments)


def environment(platform: str) -> dict[str, str]:
    """Environment variables of the image, at build time and at run time."""
    variables = {
        "BENTOML_HOME": DATA,
        "BENTOML_DO_NOT_TRACK": "true",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "UV_CONSTRAINT": f"{CODE}/constraints.txt",
    }
    if arguments.torch_index == "platform":
        variables["UV_TORCH_BACKEND"] = TORCH_BACKENDS[platform]
    return variables if platform == "cpu" else variables | {"BACKEND": "torch"}


def requirements(platform: str) -> list[str]:
    """The lines of requirements.txt that the platform needs. constraints.txt pins all versions."""
    return [line for line in _lines("requirements.txt") if re.split(r"[^\w.-]", line)[0] not in NOT_NEEDED[platform]]


def _lines(file: str) -> list[str]:
    """A file of requirements without comments."""
    lines = [line.partition("#")[0].strip() for line in (ROOT / file).read_text("utf-8").splitlines()]
    return [line for line in lines if line]


def uv() -> str:
    """The requirement `uv==VERSION`; BentoML's Dockerfile would install the newest version."""
    (line,) = [line for line in _lines("constraints.txt") if line.startswith("uv==")]
    return line


def instructions(base_image: str, variables: dict[str, str]) -> str:
    """Additional instructions of the Dockerfile. BentoML's template writes one RUN; the others follow a line feed.

    They remove what the service does not need from the packages, and begin a second stage, because a layer that
    removes files of an earlier one makes no image smaller. Only DATA belongs to the user. The template's last lines
    (the code, the user, the entrypoint) follow in a third stage, for those who run `bentoml containerize` without
    TARGET.
    """
    port = Settings.model_fields["port"].default
    folders = " ".join(f"{DATA}/{name}" for name in WRITTEN)
    user = f"groupadd -g {USER_ID} {USER} && useradd -m -u {USER_ID} -g {USER_ID} -r {USER}"
    lines = [
        f"bash env/docker/{REMOVE_UNUSED} {PACKAGES}/lib/python3.11/site-packages",
        f"FROM {base_image} AS {TARGET}",
        *(f"ENV {name}={value}" for name, value in (RUNTIME | variables).items()),
        f"RUN {user} && mkdir -p {CODE} {folders} && chown -R {USER}:{USER} {DATA}",
        f"RUN ln -s src/embeddings {BENTO}/embeddings",
        f"WORKDIR {BENTO}",
        f"COPY --chown=0:0 --from=base-container {PACKAGES} {PACKAGES}",
        f"EXPOSE {port}",
        f'HEALTHCHECK --interval=30s --timeout=10s --start-period=15m CMD ["{CODE}/embeddings", "health"]',
        "COPY . ./",
        "RUN python -m compileall -q src",
        f"USER {USER}",
        f'ENTRYPOINT ["{BENTO}/env/docker/entrypoint.sh"]',
        f"FROM {TARGET}",
    ]
    return "\n".join(lines)


def add_scripts(folder: Path) -> None:
    """Add docker/*.sh. Ours replaces BentoML's entrypoint.sh, and calls it: BentoML writes the ENTRYPOINT."""
    (folder / "entrypoint.sh").rename(folder / "bentoml-entrypoint.sh")
    for name in ("entrypoint.sh", REMOVE_UNUSED):
        shutil.copy(ROOT / "docker" / name, folder)


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
        self.run(f"pip install --no-cache-dir {uv()}")
        self.python_packages(*requirements(platform))
        self.build_include("constraints.txt")
        self.post_commands.append(instructions(self.base_image, environment(platform)))
        info = super().freeze(bento_fs, envs, platform_)
        add_scripts(bento_fs / "env" / "docker")
        return info
