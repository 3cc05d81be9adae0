"""Measures the cost of a request without the model: one short text and a stub engine.

    ./embeddings bench frontend                     this checkout and revision b633b23
    ./embeddings bench frontend --against HEAD~1    this checkout and another revision
    ./embeddings bench frontend --workers 2,4 --pass-ms 1   this checkout with one, two and four workers

Each revision has a separate environment. The servers are measured in turns, so that changes in machine speed affect
both. CPU time is the sum of a server's processes, divided by the number of responses.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.checkpoints import ROOT
from benchmarks.client import Group, Load, Request
from benchmarks.measure import send
from benchmarks.processes import Command, First, Running, free_port, start
from benchmarks.rows import EMBEDDINGS
from benchmarks.servers import clean_environment
from benchmarks.statistics import rate
from benchmarks.workload import embeddings_body

BASELINE = "b633b23"
MODEL = "all-minilm-l6-v2"
CONNECTIONS = (1, 64, 256)
HERE = "this checkout"
IMPORT_COMMAND = {True: ("-m", "cli", "import"), False: ("-m", "scripts.import_models", "--model")}
"""Whether a revision has cli/ -> its command that imports models."""


@dataclass(frozen=True)
class Checkout:
    """A revision with its environment."""

    folder: Path
    python: Path


@dataclass(frozen=True)
class Frontend:
    """What is measured: another revision or, if there are `workers`, this checkout with each number of them."""

    against: str
    workers: tuple[int, ...]
    pass_s: float
    repetitions: int
    window_s: float
    cache: Path


def prepare(revision: str, cache: Path) -> Checkout:
    """Create the files and the environment of a revision; they are kept for later runs."""
    commit = _git("rev-parse", "--short", revision).decode().strip()
    folder = cache / "frontend" / commit
    if not folder.is_dir():
        folder.mkdir(parents=True)
        with tarfile.open(fileobj=io.BytesIO(_git("archive", commit))) as archive:
            archive.extractall(folder, filter="data")
    subprocess.run(["scripts/install", "--dev"], cwd=folder, check=True, stdout=sys.stderr)
    return Checkout(folder, folder / ".venv" / "bin" / "python")


def _git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True).stdout


def serve(checkout: Checkout, home: Path, workers: int = 1, pass_s: float = 0.0, **variables: str) -> Running:
    """Start workers with the stub engine. The model's files are real, because texts are tokenized.

    `variables` are further settings of the service or of the stub.
    """
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    environment = clean_environment(
        BENTOML_HOME=str(home),
        EMBEDDING_MODEL_NAME=MODEL,
        PRELOAD_MODELS=MODEL,
        DEVICE="cpu",
        BACKEND="torch",  # no conversion: the stub replaces every engine
        HOST="127.0.0.1",
        PORT=str(port),
        WORKERS=str(workers),
        STUB_PASS_S=str(pass_s),
        PYTHONPATH=str(ROOT / "benchmarks"),
        **variables,
    )
    command = [str(checkout.python), *IMPORT_COMMAND[(checkout.folder / "cli").is_dir()], MODEL]
    subprocess.run(command, cwd=checkout.folder, env=environment, check=True, stdout=sys.stderr)
    argv = [str(checkout.python.with_name("bentoml")), "serve", "stub_service:RerankEmbedding"]
    first = First(port, EMBEDDINGS, embeddings_body(["the first text"]))
    log = home / "serve.log"
    return start([Command(argv, environment, checkout.folder, port, (MODEL,))], [first], log, timeout_s=120)


def measure(server: Running, connections: int, window_s: float) -> tuple[float, float]:
    """Requests per second, and CPU microseconds per request."""
    request = Request(server.ports[MODEL], EMBEDDINGS, embeddings_body(["a short text"]).decode(), 1)
    before = server.cpu_s()
    report = send(Load([Group("all", connections, [request])], window_s))
    calls = report.calls["all"]
    return rate(calls, window_s), 1e6 * (server.cpu_s() - before) / len(calls)


def measure_all(options: Frontend) -> dict[str, dict[int, dict[str, float]]]:
    """Medians by server and number of connections."""
    here = Checkout(ROOT, Path(sys.executable))
    checkouts = {HERE: (here, 1)} | {f"{count} workers": (here, count) for count in options.workers}
    if not options.workers:
        checkouts = {options.against: (prepare(options.against, options.cache), 1)} | checkouts
    samples: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with ExitStack() as stack:
        servers: dict[str, Running] = {}
        for name, (checkout, workers) in checkouts.items():
            home = options.cache / "frontend" / f"home-{checkout.folder.name}-{workers}"
            servers[name] = serve(checkout, home, workers, options.pass_s)
            stack.callback(servers[name].stop)
        for repetition in range(options.repetitions + 1):
            for connections in CONNECTIONS:
                for name, server in servers.items():
                    found = measure(server, connections, options.window_s)
                    if repetition:  # the first repetition is the warm-up
                        samples.setdefault((name, connections), []).append(found)
    return {
        name: {
            connections: {
                "requests_per_s": round(median(rate for rate, _ in samples[name, connections])),
                "cpu_us": round(median(cost for _, cost in samples[name, connections]), 1),
            }
            for connections in CONNECTIONS
        }
        for name in servers
    }
