"""Measures the constants of the simulation on this machine, for the benchmark's embedding model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pydantic import TypeAdapter

from benchmarks import machine
from benchmarks.checkpoints import ROOT, minilm_folder
from benchmarks.client import Group, Load, Request, http_message
from benchmarks.fleet.constants import Constants, Measured, Passes
from benchmarks.frontend import MODEL, Checkout, serve
from benchmarks.measure import send
from benchmarks.processes import Command, First, Running, free_port, post, start
from benchmarks.rows import EMBEDDINGS
from benchmarks.servers import clean_environment
from benchmarks.workload import embeddings_body, passages, short_texts
from runners.contracts import BatchShape

CONNECTIONS = 64
PASSAGES = 64
"""Texts of the larger request, from which the cost of each text follows."""
WINDOW_S = 3.0
TRIALS = 5
ORDINARY = BatchShape.of([64] * 8)
HEADERS_BYTES = 400
"""Of a response, about."""


def measure(cache: Path) -> Measured:
    """Takes about a minute, and longer at first, when the model is imported. Nothing else should run on the machine."""
    home = cache / "fleet" / "home"
    home.mkdir(parents=True, exist_ok=True)
    environment = clean_environment(BENTOML_HOME=str(home), PYTHONPATH=str(ROOT), DEVICE="cpu")
    command = [sys.executable, "-m", "cli", "import", MODEL, "--from-dir", str(minilm_folder())]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=sys.stderr)
    request_s, text_s, bytes_of = _front_end(cache)
    replica = Constants(
        passes=_passes(environment),
        request_s=request_s,
        text_s=text_s,
        shared_cores=True,
        load_s=_load_s(environment, home),
    )
    return Measured(machine=machine.facts(), model=MODEL, replica=replica, bytes_of=bytes_of)


def _passes(environment: dict[str, str]) -> Passes:
    """The median of several measurements."""
    command = [sys.executable, "-m", "benchmarks.fleet.passes", MODEL]
    found = []
    for _ in range(TRIALS):
        child = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        found.append(TypeAdapter(Passes).validate_json(child.stdout.splitlines()[-1]))
    return sorted(found, key=lambda passes: passes.costs.of(ORDINARY))[TRIALS // 2]


def _load_s(environment: dict[str, str], home: Path) -> float:
    """From the start of the service to its first answer."""
    port = free_port()
    variables = environment | {"HOST": "127.0.0.1", "PORT": str(port), "PRELOAD_MODELS": MODEL}
    argv = [str(Path(sys.executable).with_name("bentoml")), "serve", "service:RerankEmbedding"]
    first = First(port, EMBEDDINGS, embeddings_body(["the first text"]))
    running = start([Command(argv, variables, ROOT, port, (MODEL,))], [first], home / "serve.log", timeout_s=300)
    running.stop()
    return round(running.start_s, 2)


def _front_end(cache: Path) -> tuple[float, float, dict[str, int]]:
    """Processor seconds of a request and of each text, and bytes by encoding: a service with an engine that is free."""
    server = serve(Checkout(ROOT, Path(sys.executable)), cache / "fleet" / "home")
    try:
        one = _cpu_s(server, short_texts(256, seed=0), 1)
        many = _cpu_s(server, passages(256 * PASSAGES // 8, seed=0), PASSAGES)
        text_s = (many - one) / (PASSAGES - 1)
        return round(one - text_s, 7), round(text_s, 7), {name: _bytes(server, name) for name in ("float", "base64")}
    finally:
        server.stop()


def _cpu_s(server: Running, texts: list[str], each: int) -> float:
    """Processor seconds of a request of `each` texts, of all processes of the server."""
    port = server.ports[MODEL]
    parts = [texts[first : first + each] for first in range(0, len(texts), each)]
    requests = [Request(port, EMBEDDINGS, embeddings_body(part).decode(), each) for part in parts]
    load = Load([Group("all", CONNECTIONS, requests)], WINDOW_S)
    send(load)  # warm-up
    before = server.cpu_s()
    answers = len(send(load).calls["all"])
    return (server.cpu_s() - before) / answers


def _bytes(server: Running, encoding: str) -> int:
    (query,) = short_texts(1, seed=0)
    body = json.dumps({"model": MODEL, "input": query, "encoding_format": encoding}).encode()
    port = server.ports[MODEL]
    sent = http_message(Request(port, EMBEDDINGS, body.decode(), 1))
    status, answer = post(port, EMBEDDINGS, body)
    assert status == 200, answer
    return len(sent) + len(answer) + HEADERS_BYTES
