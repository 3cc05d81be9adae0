"""The checks of `./embeddings doctor`. They change nothing, but create missing folders of BENTOML_HOME."""

from __future__ import annotations

import contextlib
import http.client
import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import httpx
import psutil
from packaging.requirements import Requirement

from cli.health import readyz
from errors import ModelNotFoundError
from models.catalog import Catalog, CatalogError
from models.integrity import find_flaw, repair_command
from models.store import ModelStore, open_catalog
from runners.control_groups import memory_limit
from runners.devices import DeviceError, require, usable_cores
from settings import Settings, SettingsError, bentoml_home, load_settings
from startup import StartError, check_address, check_batch_dir, check_home

State = Literal["ok", "note", "problem"]
ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ((3, 11), (3, 14))
"""The first and the last version of Python that the dependencies support."""

_HUB_TIMEOUT_S = 10
_LOW_DISK, _LOW_MEMORY = 5 * 10**9, 2 * 10**9
_CPUINFO = Path("/proc/cpuinfo")
_FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_bf16": "AMX BF16",
    "asimd": "NEON",
    "sve": "SVE",
    "bf16": "BF16",
    "i8mm": "I8MM",
}
"""Features of x86 and Arm processors that the engines use, as /proc/cpuinfo names them -> as their makers do."""
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}


@dataclass(frozen=True)
class Finding:
    """What a check found, and the command or the change that corrects it."""

    name: str
    state: State
    text: str
    fix: str = ""


@dataclass(frozen=True)
class Machine:
    """What the checks share: the settings, or their defaults if they are wrong, and the model store."""

    settings: Settings

    @cached_property
    def store(self) -> ModelStore:
        """The model store."""
        return ModelStore()

    @cached_property
    def catalog(self) -> Catalog:
        """All models; without EXTRA_CATALOG and MODEL_ALIASES if these are wrong."""
        try:
            return open_catalog(self.settings, self.store)
        except CatalogError:
            return open_catalog(Settings(), self.store)


def read_settings() -> tuple[Settings, list[Finding]]:
    """The settings, and what is wrong with them; the defaults if they are wrong."""
    try:
        settings = load_settings()
        settings.keys  # noqa: B018  # reads API_KEYS_FILE
        catalog = open_catalog(settings, ModelStore())
        for name in (settings.embedding_model_name, settings.reranker_model_name, *settings.preload_models):
            catalog.get(name)
    except (SettingsError, CatalogError) as error:
        variable = re.match(r"[A-Z_]+(?=:)", str(error))
        fix = f"unset {variable[0]}, or correct it (docs/settings.md)" if variable else "correct the file"
        return Settings(), [Finding("Settings", "problem", str(error), fix)]
    except ModelNotFoundError as error:
        text = f"EMBEDDING_MODEL_NAME, RERANKER_MODEL_NAME or PRELOAD_MODELS: {name}: {error}"
        return settings, [Finding("Settings", "problem", text, "./embeddings list shows the names of all models")]
    changed = [name.upper() for name in sorted(settings.model_fields_set)]
    return settings, [Finding("Settings", "ok", f"set: {', '.join(changed)}" if changed else "all have their defaults")]


def python(_: Machine) -> Iterator[Finding]:
    """Version of Python, and the packages of requirements.txt."""
    version = f"{platform.python_version()}, {sys.executable}"
    first, last = PYTHONS
    if first <= sys.version_info[:2] <= last:
        yield Finding("Python", "ok", version)
    else:
        text = f"{version}; the service needs {first[0]}.{first[1]} to {last[0]}.{last[1]}"
        yield Finding("Python", "problem", text, "rm -r .venv && PYTHON=python3.11 scripts/install")
    file = ROOT / "requirements.txt"  # not in the container image, whose packages are fixed
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    wrong = [found for line in lines if (found := _wrong_package(line.partition("#")[0].strip()))]
    if wrong:
        yield Finding("Packages", "problem", "; ".join(wrong), "scripts/install")


def _wrong_package(line: str) -> str | None:
    """What is wrong with the package of one line of requirements.txt."""
    if not line:
        return None
    wanted = Requirement(line)
    try:
        version = importlib.metadata.version(wanted.name)
    except importlib.metadata.PackageNotFoundError:
        return f"{wanted.name} is not installed"
    return None if wanted.specifier.contains(version, prereleases=True) else f"{wanted} is needed, not {version}"


def processor(machine: Machine) -> Iterator[Finding]:
    """Cores, and the instructions that decide the speed on a CPU."""
    try:
        info = _CPUINFO.read_text(encoding="utf-8")
    except OSError:
        info = ""
    flags = {flag for line in re.findall(r"^(?:flags|Features)\s*:(.*)$", info, re.MULTILINE) for flag in line.split()}
    named = ", ".join(name for flag, name in _FEATURES.items() if flag in flags) or "unknown features"
    text = f"{usable_cores()} of {os.cpu_count()} cores, {platform.machine()}, {named}"
    if machine.settings.device == "cpu" and not flags & _BFLOAT16:
        text += "; without bfloat16, models take about twice as long (docs/int8.md)"
    yield Finding("Processor", "ok", text)


def gpu(machine: Machine) -> Iterator[Finding]:
    """GPUs, their driver, and whether the installed torch and the settings match them."""
    settings = machine.settings
    nvidia, driver_cuda = _nvidia()
    amd = Path("/dev/kfd").exists()
    built = _torch_build()
    names = ", ".join(nvidia) or ("AMD GPU (/dev/kfd)" if amd else "none")
    try:
        require(settings)
    except DeviceError as error:
        fix = (
            "unset DEVICE, or install a GPU driver and run scripts/install"
            if settings.device == "cuda"
            else "unset DTYPE"
        )
        yield Finding("GPU", "problem", f"{error} Found: {names}; torch is built for {built}.", fix)
        return
    wanted = "cuda" if nvidia else "rocm" if amd else "cpu"
    if wanted != "cpu" and settings.device != "cpu" and built == "cpu":
        text = f"{names}, but the installed torch is built for the CPU"
        yield Finding("GPU", "problem", text, f"TORCH_PLATFORM={wanted} scripts/install")
    elif driver_cuda and (needed := re.match(r"cuda (\d+)", built)) and driver_cuda < int(needed[1]):
        text = f"{names}: the driver supports CUDA {driver_cuda}, but torch is built for {built}"
        yield Finding("GPU", "problem", text, "install a newer NVIDIA driver")
    elif not nvidia and settings.device != "cpu" and shutil.which("nvidia-smi"):
        yield Finding("GPU", "note", "nvidia-smi is installed, but the driver reports no GPU", "nvidia-smi")
    else:
        yield Finding("GPU", "ok", f"{names}; torch is built for {built}")


def _nvidia() -> tuple[list[str], int]:
    """The names of the NVIDIA GPUs with their memory, and the major version of CUDA that the driver supports."""
    import pynvml

    try:
        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
        driver = pynvml.nvmlSystemGetDriverVersion()
        names = [
            f"{pynvml.nvmlDeviceGetName(handle)} ({pynvml.nvmlDeviceGetMemoryInfo(handle).total / 2**30:.0f} GiB, "
            f"driver {driver})"
            for handle in handles
        ]
        return names, pynvml.nvmlSystemGetCudaDriverVersion() // 1000
    except pynvml.NVMLError:
        return [], 0


def _torch_build() -> str:
    """What the installed torch is built for: `cpu`, `cuda 13.0` or `rocm 7.2`. Read from its files: no import."""
    spec = importlib.util.find_spec("torch")
    with contextlib.suppress(OSError):
        content = (Path(str(spec and spec.origin)).parent / "version.py").read_text(encoding="utf-8")
        for name, variable in (("cuda", "cuda"), ("rocm", "hip")):
            if found := re.search(rf"^{variable}\b[^=]*= '([\d.]+)", content, re.MULTILINE):
                return f"{name} {found[1]}"
        return "cpu"
    return "nothing: it is not installed"


def memory(machine: Machine) -> Iterator[Finding]:
    """Memory of the machine, within the limits of its control groups."""
    system = psutil.virtual_memory()
    total, available = min(system.total, memory_limit() or system.total), system.available
    share = machine.settings.memory_fraction
    text = f"{total / 1e9:.1f} GB, {min(total, available) / 1e9:.1f} GB available; models may use {share:.0%} of it"
    if min(total, available) < _LOW_MEMORY:
        fix = "end other programs, or choose small models: ./embeddings list"
        yield Finding("Memory", "problem", f"{text}. Most models need more.", fix)
    else:
        yield Finding("Memory", "ok", text)


def disk(_: Machine) -> Iterator[Finding]:
    """Free space for the model store."""
    folder = bentoml_home()
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:.1f} GB free for {folder} (BENTOML_HOME)"
    if free < _LOW_DISK:
        fix = "./embeddings remove NAME, or set BENTOML_HOME to a folder on another disk"
        yield Finding("Disk", "problem", f"{text}. Large models need {_LOW_DISK / 1e9:.0f} GB and more.", fix)
    else:
        yield Finding("Disk", "ok", text)


def store(machine: Machine) -> Iterator[Finding]:
    """The model store, and whether the files of its models are intact."""
    settings = machine.settings
    try:
        check_home(bentoml_home(), imports=settings.import_on_demand)
        if settings.batch_dir is not None:
            check_batch_dir(settings.batch_dir)
    except StartError as error:
        yield Finding("Store", "problem", str(error), f"export BENTOML_HOME={Path.home() / 'bentoml'}")
        return
    stored = [(spec, found) for spec in machine.catalog if (found := machine.store.find(spec)) is not None]
    for spec, found in stored:
        if flaw := find_flaw(spec, found):
            yield Finding("Store", "problem", f"{spec.name}: {flaw}", repair_command(spec, found))
    if not stored:
        yield Finding("Store", "note", "no model is stored", "./embeddings import all-minilm-l6-v2")
        return
    yield Finding("Store", "ok", f"{len(stored)} stored: {', '.join(spec.name for spec, _ in stored)}")


def proxy(_: Machine) -> Iterator[Finding]:
    """The proxy variables."""
    proxies = {name: url for name, url in urllib.request.getproxies().items() if name in ("http", "https", "all")}
    if not proxies:
        yield Finding("Proxy", "ok", "none")
        return
    text = ", ".join(f"{name.upper()}_PROXY={_without_password(url)}" for name, url in sorted(proxies.items()))
    if urllib.request.proxy_bypass("localhost"):
        yield Finding("Proxy", "ok", text)
    else:
        text += "; curl and other clients send requests to localhost to the proxy, too"
        yield Finding("Proxy", "note", text, "export NO_PROXY=localhost,127.0.0.1")


def _without_password(url: str) -> str:
    return re.sub(r"//[^@/]*@", "//***@", url)


def hub(machine: Machine) -> Iterator[Finding]:
    """Whether the Hugging Face Hub answers, and accepts HF_TOKEN."""
    settings = machine.settings
    if settings.hf_hub_offline:
        yield Finding("Hub", "ok", "not used (HF_HUB_OFFLINE)")
        return
    token = settings.hf_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    path = "/api/whoami-v2" if token else "/api/models/BAAI/bge-m3"
    try:
        answer = httpx.get(f"{settings.hf_endpoint}{path}", headers=headers, timeout=_HUB_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        missing = [
            name
            for name in (settings.embedding_model_name, settings.reranker_model_name)
            if name in machine.catalog and machine.store.find(machine.catalog.get(name)) is None
        ]
        text = f"{settings.hf_endpoint} cannot be reached ({type(error).__name__}: {error})"
        if missing:
            text += f", so the default models cannot be imported: {', '.join(missing)}"
        fix = "export HTTPS_PROXY=http://PROXY:PORT or HF_ENDPOINT=https://MIRROR; offline: use stored models, or "
        yield Finding("Hub", "note", text, f"{fix}./embeddings import NAME --from-dir FOLDER")
        return
    if token and answer.status_code == 401:
        yield Finding(
            "Hub", "problem", f"{settings.hf_endpoint} rejects HF_TOKEN", "unset HF_TOKEN, or set a valid one"
        )
    else:
        yield Finding("Hub", "ok", f"{settings.hf_endpoint} answers with status {answer.status_code}")


def port(machine: Machine) -> Iterator[Finding]:
    """Whether the service can listen on its port, or does so already."""
    settings = machine.settings
    try:
        check_address(settings.host, settings.port)
    except StartError as error:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if (status := readyz(settings)) in (200, 503):
                state = "ready" if status == 200 else "not ready yet: it loads PRELOAD_MODELS"
                yield Finding("Port", "ok", f"a service runs on port {settings.port} and is {state}")
                return
        free = f"PORT={_free_port(settings.port)} ./start.sh"
        yield Finding(
            "Port", "problem", f"{error}{_listener(settings.port)}", free if "PORT" in str(error) else "unset HOST"
        )
    else:
        yield Finding("Port", "ok", f"{settings.port} on {settings.host} is free")


def _free_port(after: int) -> int:
    """The next port after one on which nothing listens."""
    for number in range(after + 1, min(after + 100, 65536)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("", number))
            return number
    return 0


def _listener(number: int) -> str:
    """The process that listens on a port, if this user may see it."""
    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            here = connection.laddr
            if connection.status == psutil.CONN_LISTEN and connection.pid and here and here.port == number:
                return f" It is process {connection.pid} ({psutil.Process(connection.pid).name()})."
    return ""


CHECKS: tuple[Callable[[Machine], Iterator[Finding]], ...] = (
    python,
    processor,
    gpu,
    memory,
    disk,
    store,
    proxy,
    hub,
    port,
)
