"""A replica: `bentoml serve` with a stub engine, in a namespace of its own."""

from __future__ import annotations

import contextlib
import signal
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.replicas.network import Link
from tests.serving import BENTOML, ROOT, child_environment, copy_home, send_sigterm, start_server
from tests.variant import DTYPE

MODEL = "all-minilm-l6-v2"
PORT = 7987
SETTINGS = {
    "EMBEDDING_MODEL_NAME": MODEL,
    "RERANKER_MODEL_NAME": MODEL,
    "PRELOAD_MODELS": MODEL,
    "DEVICE": "cpu",
    "DTYPE": DTYPE,  # that of the import: nothing is converted, and torch, which is slow to start, is not needed
    "CPU_THREADS": "1",
    "PORT": str(PORT),
    "REQUEST_LOG": "off",
    "PYTHONPATH": str(ROOT / "benchmarks"),
}


@dataclass
class Replica:
    """A replica that can be started again after it ended. `store` is a BENTOML_HOME with the model."""

    link: Link
    home: Path
    store: Path
    supervisor: psutil.Popen = field(init=False)

    def __post_init__(self) -> None:
        copy_home(self.store, self.home)

    def start(self, **settings: str) -> None:
        """Start it, without waiting until it is ready."""
        environment = child_environment(self.home, SETTINGS | settings)
        environment["HOST"] = self.link.address
        command = self.link.namespace.inside(BENTOML, "serve", "stub_service:RerankEmbedding")
        with (self.home / "serve.log").open("ab") as log:
            self.supervisor = start_server(command, environment, log)

    @property
    def log(self) -> str:
        """What it and its predecessors printed."""
        return (self.home / "serve.log").read_text(encoding="utf-8", errors="replace")

    def family(self) -> list[psutil.Process]:
        """Its processes; none if it ended."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self.supervisor, *self.supervisor.children(recursive=True)]
        return []

    def terminate(self, timeout_s: float = 120) -> None:
        """SIGTERM, and wait for the end."""
        family = self.family()
        send_sigterm(self.supervisor)
        _, alive = psutil.wait_procs(family, timeout=timeout_s)
        assert not alive, self.log

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of its processes."""
        for process in self.family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        family = self.family()
        self.signal(signal.SIGKILL)
        psutil.wait_procs(family)
