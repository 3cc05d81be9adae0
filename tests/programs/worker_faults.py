"""Everything that can end or hang while two workers share an engine process, under load.

    python -m tests.programs.worker_faults --restarts 20

Clients send single texts and bulk requests without pause while the engine is killed, stopped and restarted, a worker is
killed and stopped, sockets are full, and everything gets SIGTERM. Printed as JSON and judged by the exit status: 0 when
every request ended in one of the ways that the fault allows, every vector was right, all processes ended, and the
service's memory after the last restart is within 10 % of what it was after the first.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

from tests.load import Clients, ending
from tests.serving import Served, http_client, http_get, http_post, import_models, serve, until

MODEL = "all-minilm-l6-v2"
TEXTS = [f"text number {number} " * (1 + number % 7) for number in range(64)]
CLIENTS = 8
BULK = 256
LARGE = ["many words of one long text " * 50] * 2048
"""About 2.6 MB of tokens."""
LARGE_CLIENTS = 24
GIVE_UP_S = 25
"""Time after which the client of a large request leaves; less than a worker waits for a stopped engine."""
MIN_COSINE = 0.999
MIN_REQUESTS = 200
"""Answers with 200 in each phase."""
GROWTH = 1.1
"""Largest ratio of the memory after the last restart to that after the first. Large requests leave the heap larger."""
SETTINGS = {"EMBEDDING_MODEL_NAME": MODEL, "RERANKER_MODEL_NAME": MODEL, "PRELOAD_MODELS": MODEL, "DEVICE": "cpu"}
ALLOWED = {
    "calm": {"200"},
    "engine killed": {"200", "503"},
    "worker killed": {"200", "lost"},
    "worker stopped": {"200"},
    "sockets full": {"200", "429"},  # the large requests fill the queue until they are cancelled
    "engine hung": {"200", "503"},
    "restarts": {"200", "503"},
    "SIGTERM": {"200", "503", "lost", "refused"},
}
"""How requests of each phase may end. A request may end in a later phase than the one in which it began."""


class Load:
    """The requests of all clients, and how they ended, by phase."""

    def __init__(self, url: str) -> None:
        self.phase = "calm"
        self.sent = 0
        self.ended: dict[str, Counter[str]] = {}
        self.wrong = 0
        self.unexpected: Counter[str] = Counter()
        self._url = url
        self._lock = threading.Lock()
        answer = httpx.post(f"{url}/v1/embeddings", json={"input": TEXTS}, timeout=300).json()
        self._vectors = np.array([each["embedding"] for each in answer["data"]])
        self._clients = Clients(CLIENTS, self._work)

    def done(self, phase: str, outcome: str = "200") -> int:
        """How many requests of a phase ended so."""
        return self.ended.get(phase, Counter())[outcome]

    def stop(self) -> None:
        """Let the threads finish their requests."""
        self._clients.stop()

    def _work(self, seed: int, stopping: threading.Event) -> None:
        source = random.Random(seed)
        while not stopping.is_set():
            with http_client(timeout=300) as client:
                for _ in range(20):
                    if not stopping.is_set():
                        self._request(client, source)

    def _request(self, client: httpx.Client, source: random.Random) -> None:
        began = self.phase
        count = BULK if source.random() < 0.05 else 1
        chosen = source.choices(range(len(TEXTS)), k=count)
        with self._lock:
            self.sent += 1
        body = {"input": [TEXTS[index] for index in chosen]}
        outcome, answer = ending(lambda: client.post(f"{self._url}/v1/embeddings", json=body))
        right = True
        if answer is not None and outcome == "200":
            vectors = np.array([each["embedding"] for each in answer.json()["data"]])
            right = bool(((vectors * self._vectors[chosen]).sum(1) > MIN_COSINE).all())
        with self._lock:
            self.ended.setdefault(began, Counter())[outcome] += 1
            self.wrong += not right
            if outcome not in ALLOWED[began] | ALLOWED[self.phase]:
                self.unexpected[f"{began}: {outcome}"] += 1
        if outcome != "200":
            time.sleep(0.02)


def engine_of(served: Served, *, other_than: psutil.Process | None = None) -> psutil.Process:
    """The last engine process that was started. It may have outlived the worker that started it."""
    old = other_than and other_than.pid

    def find() -> int | None:
        found = re.findall(r"engine process (\d+) holds", served.log)
        return int(found[-1]) if found and int(found[-1]) != old else None

    process = until(find, what="an engine process")
    assert process is not None
    return psutil.Process(process)


def workers_of(served: Served) -> list[psutil.Process]:
    """The workers that are running; a killed one stays as a zombie until BentoML looks for it."""
    return [each for each in served.supervisor.children() if "_bentoml_impl.worker.service" in _command(each)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def memory_mb(served: Served) -> dict[str, float]:
    """Proportional memory of each process of the service."""
    family = {"engine": [engine_of(served)], "workers": workers_of(served)}
    return {name: sum(each.memory_full_info().pss for each in found) / 1e6 for name, found in family.items()}


def run(served: Served, restarts: int) -> dict[str, Any]:
    """Each fault in turn."""
    load = Load(served.url)
    memory: list[tuple[str, dict[str, float]]] = []

    def phase(name: str, fault: Callable[[], None]) -> None:
        sys.stderr.write(f"{name}\n")
        before = load.done(name)
        load.phase = name
        fault()
        until(lambda: len(workers_of(served)) == 2, what="two workers")
        until(lambda: http_get(f"{served.url}/readyz", timeout=300).status_code == 200, what="200 from /readyz")
        until(lambda: load.done(name) >= before + MIN_REQUESTS, what=f"answers after {name}")
        load.phase = "calm"
        calm = load.done("calm")
        until(lambda: load.done("calm") >= calm + MIN_REQUESTS, what="answers")
        memory.append((name, memory_mb(served)))

    def restart() -> None:
        engine = engine_of(served)
        engine.kill()
        engine_of(served, other_than=engine)

    def hang() -> None:
        engine = engine_of(served)
        engine.suspend()
        engine_of(served, other_than=engine)

    def pause_worker() -> None:
        worker = workers_of(served)[0]
        worker.suspend()
        for _ in range(MIN_REQUESTS):  # the other worker accepts new connections; clients may be waiting for this one
            assert http_post(f"{served.url}/v1/embeddings", json={"input": TEXTS[0]}, timeout=60).status_code == 200
        worker.resume()

    def fill_sockets() -> None:
        """More than the workers may send to a stopped engine; the clients leave, so that nothing must be computed."""
        engine = engine_of(served)
        engine.suspend()

        def ask(_: int) -> None:
            try:
                http_post(f"{served.url}/v1/embeddings", json={"input": LARGE}, timeout=GIVE_UP_S)
            except httpx.TimeoutException:
                return
            raise AssertionError("a stopped engine answered")

        try:
            with ThreadPoolExecutor(LARGE_CLIENTS) as pool:
                list(pool.map(ask, range(LARGE_CLIENTS)))
        finally:
            engine.resume()

    phase("calm", lambda: None)
    phase("engine killed", restart)
    phase("worker killed", lambda: workers_of(served)[0].kill())
    phase("worker stopped", pause_worker)
    phase("sockets full", fill_sockets)
    phase("engine hung", hang)
    phase("restarts", restart)
    before = len(memory) - 1
    for _ in range(restarts - 1):
        phase("restarts", restart)
    load.phase = "SIGTERM"
    family = [served.supervisor, *workers_of(served), engine_of(served)]
    for process in family[1:]:
        process.send_signal(signal.SIGTERM)
    served.terminate()
    _, alive = psutil.wait_procs(family, timeout=60)
    load.stop()
    return {
        "sent": load.sent,
        "ended": {name: dict(counts) for name, counts in load.ended.items()},
        "unexpected": dict(load.unexpected),
        "wrong": load.wrong,
        "memory_mb": memory,
        "growth": sum(memory[-1][1].values()) / sum(memory[before][1].values()),
        "alive": len(alive),
        "tracebacks": served.log.count("Traceback"),
    }


def passed(result: dict[str, Any]) -> bool:
    """Whether the service withstood it."""
    accounted = result["sent"] == sum(sum(counts.values()) for counts in result["ended"].values())
    wrong = ("unexpected", "wrong", "alive", "tracebacks")
    return accounted and not any(result[name] for name in wrong) and result["growth"] <= GROWTH


def main() -> int:
    """Exit status 0 if the service withstood it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--restarts", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        import_models(home, MODEL)
        with serve(home, **SETTINGS, WORKERS="2", REQUEST_LOG="off") as served:
            result = run(served, options.restarts)
            if not passed(result):
                sys.stdout.write(served.log)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0 if passed(result) else 1


if __name__ == "__main__":
    sys.exit(main())
